"""P(True) of annotated rows against transformers: its tokenizer, its model, the whole prompts."""

import numpy as np
import pytest
import torch
import transformers

from slick_jax.knowledge.annotate import annotate
from slick_jax.settings.config_file import load_config
from tests.data.chat_templates import AS_QA

FORM = """Question: {question}
Proposed Answer: {answer}
Is the proposed answer:
(A) True
(B) False
The proposed answer is:"""


@pytest.fixture(scope="module")
def theirs(small_model):
    """Their tokenizer and model of the same folder."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(small_model)
    return tokenizer, transformers.AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32).eval()


TEMPLATE = AS_QA.replace("{{ bos_token }}", "")  # the model has no BOS


def prompt(tokenizer, row, style):
    text = FORM.format(question=row["question"], answer=row["answers"][0])
    if style == "qa":
        return text + " "
    turns = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turns, tokenize=False, chat_template=TEMPLATE) + " "


@pytest.mark.parametrize("style", ["qa", "chat"])
def test_scores_are_theirs(root, small_model, theirs, tmp_path, style):
    tokenizer, model = theirs
    folder = small_model
    if style == "chat":
        folder = tmp_path / "model"
        folder.mkdir()
        for file in small_model.iterdir():
            (folder / file.name).symlink_to(file)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    settings = {
        "run_dir": tmp_path / "run", "model.path": folder, "data.splits": "test", "data.limit": 6,
        "annotate.prompt_style": style, "annotate.n_samples": 1,
    }  # fmt: skip
    table, _ = annotate(
        load_config(
            [f"--config={root / 'tests/small_world.py'}", *(f"--config.{k}={v}" for k, v in settings.items())],
            "annotate",
        )
    )
    expected = []
    for row in table.to_dict("records"):
        true, false = (
            tokenizer(prompt(tokenizer, row, style) + verdict, add_special_tokens=style == "qa")["input_ids"]
            for verdict in ("(A)", "(B)")
        )
        fork = next(place for place in range(len(true)) if true[place] != false[place])
        assert "A" in tokenizer.convert_ids_to_tokens(true[fork]) and "B" in tokenizer.convert_ids_to_tokens(
            false[fork]
        )
        with torch.no_grad():
            logits = model(torch.tensor([true[:fork]])).logits[0, -1]
        expected.append(torch.softmax(logits[[true[fork], false[fork]]], 0)[0].item())
    np.testing.assert_allclose(table["p_true"], expected, atol=1e-5)
