"""transformers as an expert writes it: exemplar prefixes cached, all draws of a question in one batch.

Keys and values of the exemplars are computed once, before the clock runs. A question copies them, forwards its own
tokens behind its ten prefixes together, repeats the cache for the 17 draws of each, and decodes the 170 rows at once
until all have stopped; so do `together` questions, where the device has room for them.
"""

from __future__ import annotations

import torch
from job import Answers, Job, Question, run
from transformers import AutoModelForCausalLM, DynamicCache


def prepare(job: Job):
    torch.set_num_threads(job.threads)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.dtype)).to(job.device).eval()
    kept, kept_mask = cache_prefixes(model, job)
    ending, draws = torch.tensor(job.stops, device=job.device), 1 + job.samples

    @torch.inference_mode()
    def ask(places_asked: Question) -> list[list[list[int]]]:
        numbers = torch.tensor([number for number, _ in places_asked], device=job.device)
        tokens, own = pad_left([rest for _, rest in places_asked], job.device)
        cache = DynamicCache(config=model.config)
        for layer, (keys, values) in enumerate(kept):
            cache.update(keys[numbers], values[numbers], layer)
        mask = torch.cat([kept_mask[numbers], own], 1)
        places = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        logits = model(
            tokens, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1
        ).logits[:, -1]  # fmt: skip
        cache.batch_repeat_interleave(draws)
        mask, place, logits = (x.repeat_interleave(draws, 0) for x in (mask, places[:, -1:], logits))
        stopped, paths = torch.zeros(len(logits), dtype=torch.bool, device=job.device), []
        while True:
            taken = choose(logits, job, draws)
            paths.append(taken)
            stopped |= torch.isin(taken[:, 0], ending)
            if len(paths) == job.limit or bool(stopped.all()):
                return torch.cat(paths, 1).reshape(len(places_asked), draws, -1).tolist()
            mask, place = torch.cat([mask, torch.ones_like(place)], 1), place + 1
            logits = model(taken, attention_mask=mask, position_ids=place, past_key_values=cache).logits[:, -1]

    def answer(questions: list[Question]) -> Answers:
        batches = [questions[i : i + job.together] for i in range(0, len(questions), job.together)]
        drawn = iter([place for batch in batches for place in ask([place for question in batch for place in question])])
        return [[next(drawn) for _ in question] for question in questions]

    return answer


def choose(logits: torch.Tensor, job: Job, draws: int) -> torch.Tensor:
    """Next token of every row, int64 [rows 1]: the most probable one for the first of `draws` rows, else a sample."""
    values, ids = logits.float().topk(job.top_k)
    taken = ids.gather(1, torch.multinomial((values / job.temperature).softmax(-1), 1))
    taken[::draws] = ids[::draws, :1]
    return taken


def pad_left(rows: list[list[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as int64 [rows width], padded on the left, and their mask."""
    width = max(map(len, rows))
    tokens = torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return tokens, mask


@torch.inference_mode()
def cache_prefixes(model, job: Job) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """Keys and values of all exemplar prefixes, per layer, padded on the left, and their mask."""
    tokens, mask = pad_left(job.prefixes, job.device)
    cache = DynamicCache(config=model.config)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    model(tokens, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1)
    return [(layer.keys, layer.values) for layer in cache.layers], mask


if __name__ == "__main__":
    run(prepare, ("transformers", "torch"))
