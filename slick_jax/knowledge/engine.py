"""The parts of a run on the device: verified a few at a time, so that neither host nor device waits for the other."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from slick_jax.config import Config
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import p_true, pools, preparation
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.p_true import Scoring
from slick_jax.knowledge.preparation import PrefixKey, Prepared
from slick_jax.knowledge.verify import Verification, Verified
from slick_jax.knowledge.walk import Vocabulary
from slick_jax.mesh import batch_shards
from slick_jax.models import weights
from slick_jax.models.transformer import KV, Network, Params

IN_FLIGHT = 3  # parts under way at once: while one waits for its last few branches, the device works on the others


class Engine:
    """The compiled programs of a run with the model's weights, and the prefixes of the parts it works on."""

    def __init__(
        self,
        config: Config,
        network: Network,
        mesh: Any,
        tokenizer: Tokenizer,
        prepared: Prepared,
        params: Params | None = None,
        verifies: bool = True,
    ):
        """`params`: the model's own, on the mesh; None: those of `config.model.path` are read. `verifies`: False where
        only answers are written: nothing is compiled or kept for verification then."""
        settings = config.annotate
        if params is None:
            held, dtype = config.model.weights, config.model.dtype
            dtype = dtype if held in ("", "int8") else held
            params = weights.load_hf(config.model.path, network, mesh, dtype, int8=held == "int8")
        self._prepared, self._tokenizer = prepared, tokenizer
        self._protocol = preparation.protocol_of(settings)
        top_k = max(settings.top_k, *(pair[1] for pair in self._protocol.pairs), 1)
        self._shapes, slots = prepared.shapes(batch_shards(mesh)), 0
        if verifies:
            size = pools.free_bytes(mesh, params) if settings.kept_gib is None else settings.kept_gib * 2**30
            count = min(IN_FLIGHT, len(prepared.parts))
            slots = pools.slots_for(network, mesh, size, count, prepared.part_tokens, self._shapes)
        program = Program(network, self._protocol.n_samples, settings.top_k, top_k, tokenizer.n_ids, keeps=slots > 0)
        if not slots:
            self._shapes = dataclasses.replace(self._shapes, behind=())
        self.device = Device(
            program, params, mesh,
            seed=settings.seed, temperature=settings.temperature, prefix_length=prepared.prefix_length,
            pools=pools.Pools(network, mesh, slots) if slots else None,
        )  # fmt: skip
        if verifies:
            self.device.warm_up(self._shapes, prepared.bank_slots)
        self._vocabulary = Vocabulary(tokenizer.token_bytes, tokenizer.is_stop.tolist())
        self._bank: tuple[list[PrefixKey], KV] | None = None

    def bank(self, part: Sequence[int]) -> tuple[dict[PrefixKey, int], KV]:
        """The prefixes of a part's relations on the device and the slots they have there.

        Parts that follow each other share a bank where it is the same.
        """
        keys = self._prepared.part_prefixes(part)
        if self._bank is None or self._bank[0] != keys:
            prefixes = [self._prepared.prefix(key) for key in keys]
            self._bank = keys, self.device.bank(prefixes, self._prepared.bank_slots)
        return {key: slot for slot, key in enumerate(keys)}, self._bank[1]

    def start(self, part: Sequence[int]) -> Verification:
        """Dispatch the first round of a part, given as row indices."""
        slots, bank = self.bank(part)
        questions = [self._prepared.question(index, slots) for index in part]
        verification = Verification(
            questions, self._protocol, self.device, self._vocabulary, self._tokenizer.longest_match, self._shapes
        )
        verification.begin(bank)
        return verification

    def score(self, part: Sequence[int]) -> Scoring | None:
        """Dispatch P(True) of a part; None where it is not asked."""
        if not self._prepared.proposals:
            return None
        slots, bank = self.bank(part)
        proposals = [self._prepared.proposal(index) for index in part]
        return Scoring(proposals, slots[p_true.PREFIX], self.device, bank, self._shapes)

    def verify(
        self, numbers: Sequence[int]
    ) -> Iterator[tuple[int, list[Verified], Sequence[float | None], collections.Counter]]:
        """Parts by number, each with its results, P(True) and counters as they are done, a few of them under way at a
        time."""
        waiting, under_way = iter(numbers), collections.deque()
        while True:
            while len(under_way) < IN_FLIGHT and (number := next(waiting, None)) is not None:
                part = self._prepared.parts[number]
                under_way.append((number, self.start(part), self.score(part)))
            if not under_way:
                return
            number, verification, scoring = under_way.popleft()
            if verification.advance():
                under_way.append((number, verification, scoring))
                continue
            found, counts = verification.result()
            scores, more = scoring.result() if scoring else ([None] * len(found), {})
            counts.update(more)
            yield number, found, scores, counts
