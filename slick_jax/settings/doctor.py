"""The settings of `slick doctor` (docs/doctor.md), a section of slick_jax.config, and what they must satisfy."""

from collections.abc import Iterator
from dataclasses import dataclass

from slick_jax.settings.checks import above_zero, at_least, seed


@dataclass(frozen=True)
class DoctorConfig:
    """How `slick doctor` reads rows, groups them and treats them; the refusal that it teaches is mix.idk_text."""

    dry_run: bool = False  # show prompts, work and time, and write nothing; also as --dry-run
    skip_bad_rows: bool = True  # list rows that cannot be asked and go on without them; False: stop at them
    least_rows: int = 10  # rows that a relation or cluster must have to be ranked
    clusters: int = 0  # groups of like questions, where relations cannot be ranked (one, or all small); 0: by rows
    maybe_weight: float = 3.0  # how often a MaybeKnown row is drawn, over one HighlyKnown or WeaklyKnown
    seed: int = 0  # clusters and drawing


def problems(doctor: DoctorConfig) -> Iterator[str]:
    """A line `doctor.<setting>: <value and what is allowed>` for every rule that is broken."""
    yield from at_least("doctor.least_rows", doctor.least_rows, 1)
    yield from at_least("doctor.clusters", doctor.clusters, 0)
    yield from above_zero("doctor.maybe_weight", doctor.maybe_weight)
    yield from seed("doctor.seed", doctor.seed)
