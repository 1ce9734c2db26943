"""The scripted model on a bench: its questions as the engine takes them, and what the reference process says."""

import dataclasses
from collections import Counter
from types import SimpleNamespace

import jax
import numpy as np

from slick_jax.files.hashing import id_words
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.match import Golds, matcher
from slick_jax.knowledge.pools import Pools
from slick_jax.knowledge.shapes import Shapes
from slick_jax.knowledge.verify import Protocol, Question, Verification, complete
from slick_jax.knowledge.walk import Vocabulary, open_text
from slick_jax.mesh import make_mesh
from tests.knowledge import scripted
from tests.knowledge.reference import decode_draws, judge_text
from tests.knowledge.scripted import GOLDS, N_TOKENS, NEWLINE, PHRASES, STOPS, TOKEN_BYTES, longest_match

SEED, N_SAMPLES, TEMPERATURE, TOP_K, LIMIT, N_SLOTS = 3, 16, 0.5, 8, 11, 3
PREFIXES = [(), (0, 5, 9), (0, 7, 7, 20, 21, 22), (0, 33, 12, 40, 41)]
BEHIND = ((6, 24), (12, 48))
ROUTINE = Shapes(lengths=(12, 40), tokens=320, positions=256, behind=BEHIND)
SLOTS = 20000  # more than all questions need
VOCABULARY = Vocabulary(TOKEN_BYTES, STOPS)
VIABLE = Golds.viable  # as imported, whatever a test puts in its place


def questions_of(asked):
    """Scripted questions as the engine takes them, drafts included."""
    abstentions = Golds(PHRASES, matcher("squad"))
    return [
        Question(
            words=id_words(each.identifier),
            slots=each.slots,
            golds=Golds(each.golds, matcher("squad")),
            abstentions=abstentions,
            drafts=[(tuple(longest_match(f" {gold}".encode())), NEWLINE) for gold in each.golds],
        )
        for each in asked
    ]


def make_device(script, shapes=ROUTINE, slots=SLOTS):
    """The engine's device; its scores are computed outside of jit, where the script can answer."""
    shards = shapes.shards
    mesh = make_mesh(SimpleNamespace(data=shards, fsdp=1, tensor=1), jax.devices()[:shards])
    program = Program(scripted.ScriptedNetwork(script), N_SAMPLES, TOP_K, TOP_K, N_TOKENS, bool(shapes.behind))
    pools = Pools(program.network, mesh, slots) if shapes.behind else None
    device = Device(program, {}, mesh, seed=SEED, temperature=TEMPERATURE, prefix_length=8, pools=pools)
    device._states, device._decide = program.states, scripted_decide(program)
    return device


def scripted_decide(program):
    """`Program.decide` with the logits computed outside of jit."""
    drawn = jax.jit(dataclasses.replace(program, network=scripted.Given()).decide)

    def decide(params, states, *rest):
        return drawn(params, program.network.logits(params, states), *rest)

    return decide


def prompt(slot):
    number, rest = slot
    return [*PREFIXES[number], *rest]


@dataclasses.dataclass
class Bench:
    """Questions, script and device, and what the reference says: `draws` and `judgements` [question][slot][draw]."""

    asked: list
    script: scripted.Script
    device: Device
    draws: list
    judgements: list

    def first(self, number):
        """The bench with its first questions only."""
        return Bench(self.asked[:number], self.script, self.device, self.draws[:number], self.judgements[:number])

    def verify(self, protocol=None, device=None, questions=None, shapes=ROUTINE, match=longest_match, times=1):
        """The results, and the counters; of the last time, where the same verification is begun several times."""
        protocol = protocol or Protocol(N_SAMPLES, LIMIT, ())
        questions = questions or questions_of(self.asked)
        device = device or self.device
        bank = device.bank([np.array(prefix, np.int32) for prefix in PREFIXES], len(PREFIXES))
        verification = Verification(questions, protocol, device, VOCABULARY, match, shapes)
        for _ in range(times):
            verification.begin(bank)
            complete([verification])
            found = verification.result()
        return found

    def differences(self, verified):
        """Number of wrong entries per field; truncations count on viable paths only."""
        found = Counter(strict=0, squad=0, abstained=0, truncated=0)
        for each, result, draws, judged in zip(self.asked, verified, self.draws, self.judgements, strict=True):
            for place in np.ndindex(N_SLOTS, 1 + N_SAMPLES):
                draw, wanted = draws[place[0]][place[1]], judged[place[0]][place[1]]
                truncated = wanted.truncated and all_viable(draw.path, each.golds)
                found["strict"] += int(wanted.strict != result.hits[place][0])
                found["squad"] += int(wanted.squad != result.hits[place][1])
                found["abstained"] += int(wanted.abstained != result.abstained[place])
                found["truncated"] += int(truncated != result.truncated[place])
        return found


def all_viable(path, golds):
    """Whether every beginning of the path could still have become a match or an abstention."""
    rules = [Golds(texts, matcher("squad")) for texts in (golds, PHRASES)]
    texts = [open_text(b"".join(TOKEN_BYTES[token] for token in path[:end]))[0] for end in range(1, len(path) + 1)]
    return all(any(VIABLE(rule, text) for rule in rules) for text in texts)


def make_bench():
    """Three questions of every gold form, decoded by the reference."""
    asked = scripted.make_questions(3 * len(GOLDS), N_SLOTS, PREFIXES)
    script = scripted.Script(asked)
    draws = [
        decode_draws(
            scripted.ScriptedNetwork(script), {}, [prompt(slot) for slot in each.slots], each.identifier, SEED,
            N_SAMPLES, TEMPERATURE, TOP_K, LIMIT, STOPS, N_TOKENS, pad_to=32, compiled=False,
        )
        for each in asked
    ]  # fmt: skip
    judgements = [
        [[judge_text(d.path, TOKEN_BYTES, STOPS, each.golds, LIMIT, PHRASES) for d in slot] for slot in slots]
        for each, slots in zip(asked, draws, strict=True)
    ]
    return Bench(asked, script, make_device(script), draws, judgements)
