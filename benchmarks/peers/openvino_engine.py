"""OpenVINO GenAI's continuous batching with prefix caching: all prompts of a pass are given to it at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from job import Answers, Job, Question, run
from openvino_model import convert


def prepare(job: Job):
    folder = tempfile.TemporaryDirectory()
    convert(Path(job.model), Path(folder.name))
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 4  # GB
    scheduler.enable_prefix_caching = True
    scheduler.max_num_seqs = 512
    scheduler.max_num_batched_tokens = 1024
    pipeline = genai.ContinuousBatchingPipeline(
        folder.name, scheduler, "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": job.threads},
    )  # fmt: skip
    greedy, sampled = config(job, do_sample=False), config(
        job, do_sample=True, temperature=job.temperature, top_k=job.top_k, num_return_sequences=job.samples
    )  # fmt: skip

    def answer(questions: list[Question]) -> Answers:
        prompts = [np.array([job.prompt(q, i)], np.int64) for q in questions for i in range(len(q))]
        tensors = [ov.Tensor(prompt) for prompt in prompts for _ in range(2)]
        found = pipeline.generate(tensors, [greedy, sampled] * len(prompts))
        drawn = iter([
            [list(row) for row in (*one.m_generation_ids, *many.m_generation_ids)]
            for one, many in zip(found[::2], found[1::2], strict=True)
        ])  # fmt: skip
        return [[next(drawn) for _ in question] for question in questions]

    answer.folder = folder  # lives as long as the pipeline
    return answer


def config(job: Job, **settings) -> genai.GenerationConfig:
    """Generation settings with the job's stop and length."""
    made = genai.GenerationConfig(max_new_tokens=job.limit, **settings)
    made.stop_token_ids = set(job.stops)
    made.eos_token_id = job.stops[0]
    return made


if __name__ == "__main__":
    run(prepare, ("openvino-genai", "openvino"), "prefix caching on; hand-converted, float32 weights and cache")
