"""transformers as people write it: per prompt one greedy call of `generate` and one with num_return_sequences."""

from __future__ import annotations

import torch
from job import Answers, Job, Question, run
from transformers import AutoModelForCausalLM


def prepare(job: Job):
    torch.set_num_threads(job.threads)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.dtype)).to(job.device).eval()
    common = {"max_new_tokens": job.limit, "eos_token_id": job.stops, "pad_token_id": job.stops[0]}
    sampled = {"temperature": job.temperature, "top_k": job.top_k, "num_return_sequences": job.samples}

    @torch.inference_mode()
    def place(prompt: list[int]) -> list[list[int]]:
        tokens = torch.tensor([prompt], device=job.device)
        asked = {"attention_mask": torch.ones_like(tokens), **common}
        greedy = model.generate(tokens, do_sample=False, **asked)
        samples = model.generate(tokens, do_sample=True, **sampled, **asked)
        return [row[len(prompt) :].tolist() for row in (*greedy, *samples)]

    def answer(questions: list[Question]) -> Answers:
        return [[place(job.prompt(question, i)) for i in range(len(question))] for question in questions]

    return answer


if __name__ == "__main__":
    run(prepare, ("transformers", "torch"))
