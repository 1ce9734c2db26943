"""Does the model call a claim true when it is asked? The contrast of two tokens behind a question.

Kadavath et al. 2022, section 3. The score is the log-odds of the first tokens at which the two verdicts part: with most
tokenizers that is " True" against " False". Base models are asked behind a few claims whose labels are known
(`examples_of`), which are read once for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from slick_jax.errors import InputError
from slick_jax.longform.contexts import distinct, fill
from slick_jax.longform.probe import check_split
from slick_jax.longform.reading import Reader, Row
from slick_jax.longform.records import Claim, Entity
from slick_jax.models.transformer import KV, Network, Params
from slick_jax.sampling import logits as select
from slick_jax.settings.longform import PTrueConfig

FORM, VERDICTS = PTrueConfig.form, PTrueConfig.verdicts


def odds(
    network: Network,
    n_tokens: int,
    params: Params,
    kv: KV | None,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    starts: Int[Array, " B"],
    true: Int[Array, " B"],
    false: Int[Array, " B"],
) -> Float[Array, " B"]:
    """A program of `Reader.read`: log P(true) - log P(false) of these tokens behind the last token of each row."""
    states = network.hidden(params, tokens[None], kv).states[0]
    state = jnp.take_along_axis(states, lengths[:, None, None] - 1, axis=1)[:, 0]
    logits = select.clean(network.logits(params, state), n_tokens)
    chosen = jnp.take_along_axis(logits, jnp.stack([true, false], axis=1), axis=1)
    return chosen[:, 0] - chosen[:, 1]


@dataclass(frozen=True)
class PTrue:
    """The scorer `p_true`: log-odds of True against False.

    form: fields {prompt} and {name} of the entity, and {claim}; examples: text before every question (`examples_of`).
    """

    reader: Reader
    form: str = FORM
    verdicts: tuple[str, str] = VERDICTS
    examples: str = ""
    names = ("p_true",)

    def score(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> Float[np.ndarray, "1 n"]:
        """Raw scores. Raises InputError where the tokenizer writes both verdicts alike."""
        texts, which = distinct([self.examples + fill(self.form, claim, entities) for claim in claims])
        names = [claims[at].id for at in np.unique(which, return_index=True)[1]]
        true, false = (self.reader.rows(texts, [verdict] * len(texts), names) for verdict in self.verdicts)
        forks = [fork(one.tokens, other.tokens) for one, other in zip(true, false, strict=True)]
        if None in forks:
            raise InputError(
                f"longform.p_true.verdicts: {self.reader.tokenizer.where} writes {self.verdicts[0]!r} and"
                f" {self.verdicts[1]!r} with tokens of which one continues the other; choose other words"
            )
        # what parts them is predicted from the token before; a text of its own, so that claims may share contexts
        rows = [Row(row.tokens[:fork], fork) for row, fork in zip(true, forks, strict=True)]
        pairs = zip(true, false, forks, strict=True)
        columns = np.array([(one.tokens[fork], other.tokens[fork]) for one, other, fork in pairs], np.int32).T
        found = np.empty(len(rows))
        for numbers, result in self.reader.read(odds, rows, *columns, progress="p_true"):
            found[numbers] = result
        return found[which][None]


def fork(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place where two rows of tokens differ; None where one continues the other, or they differ at once."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None) or None


def examples_of(
    claims: Sequence[Claim],
    labels: Sequence[bool],
    entities: Mapping[str, Entity],
    n: int,
    seed: int,
    form: str = FORM,
    verdicts: tuple[str, str] = VERDICTS,
) -> str:
    """`n` questions with their verdicts, half of them true, of as many entities as there are: what to ask behind.

    claims: of split probe, so that no verdict is given away; seeded. Raises InputError where claims are too few.
    """
    check_split(claims, "probe", entities)
    rng = np.random.default_rng([seed, n])
    labelled = [(claim, bool(label)) for claim, label in zip(claims, labels, strict=True)]
    sides = [[claim for claim, label in labelled if label is side] for side in (True, False)]
    wanted = (n - n // 2, n // 2)
    if any(len(side) < want for side, want in zip(sides, wanted, strict=True)):
        raise InputError(
            f"longform.p_true.examples={n}: split probe has {len(sides[0])} supported and {len(sides[1])} unsupported"
            " claims, and half of the examples are of each; set it lower"
        )
    chosen = []
    for side, want, verdict in zip(sides, wanted, verdicts, strict=True):
        shuffled = [side[i] for i in rng.permutation(len(side))]
        first = {claim.entity: claim for claim in reversed(shuffled)}  # other entities before more of the same
        ordered = [*first.values(), *(claim for claim in shuffled if claim is not first[claim.entity])]
        chosen += [fill(form, claim, entities) + verdict for claim in ordered[:want]]
    return "".join(f"{chosen[i]}\n\n" for i in rng.permutation(len(chosen)))
