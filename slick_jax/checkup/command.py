"""`slick doctor`: annotate a file of rows with a model, say what to do about them, write them ready for training."""

from __future__ import annotations

import dataclasses

from etils import epath

from slick_jax.checkup import dry_run, page, treated
from slick_jax.checkup.advice import Advice, advise
from slick_jax.checkup.diagnosis import Diagnosis, diagnose
from slick_jax.checkup.intake import take_in
from slick_jax.config import Config
from slick_jax.knowledge import annotate


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run comes to; data: rows of every data set; page: where it is."""

    found: Diagnosis
    advice: list[Advice]
    data: dict[str, treated.Treatment]
    page: epath.Path


def run(config: Config) -> Report | None:
    """Examine the rows, or with doctor.dry_run show what that would ask and take; print it."""
    if config.doctor.dry_run:
        dry_run.show(config)
        return None
    made = examine(config)
    print("\n".join(page.lines(made.found, made.advice, made.data, str(made.page.parent))))
    return made


def examine(config: Config) -> Report:
    """Annotate the rows of data.path, find out what is to be said of them, and write <run_dir>/doctor.

    A run that was stopped goes on behind its last finished part; a finished one is read again, with the same files.
    Raises InputError as `annotate` and `take_in` do.
    """
    _, tokenizer, intake = take_in(config)
    table, _ = annotate.annotate(config, intake.asked)
    folder = epath.Path(config.run_dir) / "doctor"
    found = diagnose(config, intake, table, tokenizer)
    advice, data = advise(found, config), treated.treatments(found, config)
    treated.write(folder / "data", data)
    return Report(found, advice, data, page.write(folder, config, found, advice, data))
