"""llama.cpp through llama-cpp-python's low-level interface: exemplar prefixes kept as sequences, draws in one batch.

The high-level interface answers one prompt at a time, so this does what llama.cpp's own `batched` example does: a
question's tokens belong to the 17 draws of their exemplar set at once, behind the prefix they share, and all draws that
have not stopped decode together. llama.cpp's samplers choose the tokens.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

import llama_cpp as llama
from gguf_model import convert
from job import Answers, Job, Question, run

BATCH = 2048  # tokens of one call; a question's own tokens and a step of its draws are fewer
F32 = 0  # GGML_TYPE_F32, of the cache


class Engine:
    """A context whose first sequences are the exemplar prefixes and the next ones the draws of a question."""

    def __init__(self, job: Job, file: str):
        self.job, self.draws = job, 1 + job.samples
        sets = max(len(question) for questions in (job.warm, *job.passes) for question in questions)
        self.first, self.rows = len(job.prefixes), sets * self.draws
        own = max(len(rest) for qs in (job.warm, *job.passes) for q in qs for _, rest in q)
        model = llama.llama_model_load_from_file(file.encode(), llama.llama_model_default_params())
        settings = llama.llama_context_default_params()
        settings.n_seq_max = self.first + self.rows
        settings.n_ctx = sum(map(len, job.prefixes)) + sets * own + self.rows * job.limit + 256
        settings.n_batch = settings.n_ubatch = settings.n_outputs_max = BATCH
        settings.n_threads = settings.n_threads_batch = job.threads
        settings.type_k = settings.type_v = F32
        settings.kv_unified = True
        settings.flash_attn_type = int(os.environ.get("LLAMA_FLASH", "-1"))
        self.context = llama.llama_init_from_model(model, settings)
        self.memory = llama.llama_get_memory(self.context)
        self.batch = llama.llama_batch_init(BATCH, 0, self.draws)
        self.greedy, self.sampled = chain(llama.llama_sampler_init_greedy()), chain(
            llama.llama_sampler_init_top_k(job.top_k),
            llama.llama_sampler_init_temp(job.temperature),
            llama.llama_sampler_init_dist(0),
        )  # fmt: skip
        for number, prefix in enumerate(job.prefixes):
            self.forward([(token, place, [number], False) for place, token in enumerate(prefix)])

    def forward(self, tokens: list[tuple[int, int, list[int], bool]]) -> None:
        """One call over (token, position, its sequences, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, (token, place, sequences, wanted) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, place, wanted
            batch.n_seq_id[i] = len(sequences)
            for k, sequence in enumerate(sequences):
                batch.seq_id[i][k] = sequence
        found = llama.llama_decode(self.context, batch)
        if found:
            raise RuntimeError(f"llama_decode returned {found}")

    def choose(self, row: int, output: int) -> int:
        """The next token of draw `row` from the logits of the batch's token `output`."""
        sampler = self.sampled if row % self.draws else self.greedy
        return llama.llama_sampler_sample(sampler, self.context, output)

    def ask(self, question: Question) -> list[list[list[int]]]:
        tokens, outputs, places = [], [], []
        for number, (prefix, own) in enumerate(question):
            sequences = [self.first + number * self.draws + i for i in range(self.draws)]
            for sequence in sequences:
                llama.llama_memory_seq_cp(self.memory, prefix, sequence, -1, -1)
            start = len(self.job.prefixes[prefix])
            tokens += [(token, start + i, sequences, i == len(own) - 1) for i, token in enumerate(own)]
            outputs += [len(tokens) - 1] * self.draws
            places += [start + len(own)] * self.draws
        self.forward(tokens)
        ends, paths = set(self.job.stops), [[] for _ in outputs]
        alive = list(range(len(paths)))
        while True:
            for row, output in zip(alive, outputs, strict=True):
                paths[row].append(self.choose(row, output))
            alive = [row for row in alive if paths[row][-1] not in ends]
            if not alive or max(map(len, paths)) == self.job.limit:
                break
            step = len(paths[alive[0]]) - 1
            self.forward([(paths[row][-1], places[row] + step, [self.first + row], True) for row in alive])
            outputs = list(range(len(alive)))
        for row in range(len(paths)):
            llama.llama_memory_seq_rm(self.memory, self.first + row, -1, -1)
        return [paths[i : i + self.draws] for i in range(0, len(paths), self.draws)]


def chain(*samplers):
    """One sampler of several."""
    made = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in samplers:
        llama.llama_sampler_chain_add(made, sampler)
    return made


@llama.llama_log_callback
def quiet(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """Errors alone are printed."""
    if level >= 4:
        print(text.decode(), end="")


def prepare(job: Job):
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        convert(Path(job.model), Path(folder) / "model.gguf")
        engine = Engine(job, f"{folder}/model.gguf")

    def answer(questions: list[Question]) -> Answers:
        return [engine.ask(question) for question in questions]

    return answer


if __name__ == "__main__":
    run(prepare, ("llama_cpp_python",), "prefixes and questions shared between sequences; float32 weights and cache")
