"""transformers' continuous batching (paged cache, shared blocks): all prompts of a pass are given to it at once.

A manager takes one generation config, so a pass is two calls of `generate_batch`: the greedy answers, then 16 samples
of every prompt with num_return_sequences, which share their prompt's blocks.
"""

from __future__ import annotations

import torch
from job import Answers, Job, Question, run
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

PAGE = 16  # tokens of a page; only whole pages are shared, and a prompt has about 100 tokens


def prepare(job: Job):
    torch.set_num_threads(job.threads)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.dtype)).to(job.device).eval()
    model.set_attn_implementation("sdpa")
    common = {"max_new_tokens": job.limit, "eos_token_id": job.stops, "pad_token_id": job.stops[0]}
    greedy = GenerationConfig(do_sample=False, **common)
    sampled = GenerationConfig(
        do_sample=True, temperature=job.temperature, top_k=job.top_k, num_return_sequences=job.samples, **common
    )
    settings = ContinuousBatchingConfig(page_size=PAGE, num_blocks=4096, max_batch_tokens=1024)

    def answer(questions: list[Question]) -> Answers:
        prompts = [job.prompt(question, i) for question in questions for i in range(len(question))]
        drawn: list[list[list[int]]] = [[] for _ in prompts]
        for how in (greedy, sampled):
            found = list(model.generate_batch(prompts, how, continuous_batching_config=settings).values())
            each = how.num_return_sequences or 1
            assert len(found) == each * len(prompts), "continuous batching lost requests"
            for number, result in enumerate(found):
                drawn[number // each].append(list(result.generated_tokens))
        places = iter(drawn)
        return [[next(places) for _ in question] for question in questions]

    return answer


if __name__ == "__main__":
    run(prepare, ("transformers", "torch"), "shares blocks of 16 tokens")
