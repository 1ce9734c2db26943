"""How a question is put to a model: the paper's plain text (`qa`), or the turns of its chat template (`chat`).

A style is all that the rest of the program knows of prompts: the texts of exemplars and questions, the tokens of a
text, what stands between a prompt and its answer, and the token that ends an answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from slick_jax.config import AnnotateConfig
from slick_jax.data.chat_template import ChatTemplate
from slick_jax.data.examples import Example
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError

TEMPLATE = "qa: 'Q: <question>\\nA: <answer>\\n' per exemplar, then 'Q: <question>\\nA:'"
BOOLS = {"true": True, "false": False}
_QUESTION, _ANSWER = "Which one?", "Thisone"  # a chat to learn from how a template writes answers


def question_part(question: str) -> str:
    """The end of every prompt: the question and the opened answer line."""
    return f"Q: {question}\nA:"


def few_shot_prompt(exemplars: Sequence[Example], question: str) -> str:
    """Exemplar blocks with their first answers, then the question; one newline between lines."""
    blocks = [f"{question_part(row.question)} {row.answers[0]}\n" for row in exemplars]
    return "".join([*blocks, question_part(question)])


def fine_tuning_prompt(question: str) -> str:
    """What stands before the answer in fine-tuning (paper appendix E); the answer and end-of-text follow directly."""
    return f"Answer the following question.\n{question}\n"


class Qa:
    """Plain text, as in the paper: lines of questions and answers, ended by a newline.

    Attributes:
      name: all that the texts hang on, for the protocol.
      before, after: text between a few-shot prompt and its answer, and behind the answer.
      target_before: text between a fine-tuning prompt and its answer.
      stop: the token that ends a drafted answer.
    """

    name, before, after, target_before = TEMPLATE, " ", "\n", ""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.stop = tokenizer, tokenizer.newline

    def few_shot(self, exemplars: Sequence[Example], question: str) -> str:
        """The question behind its exemplars."""
        return few_shot_prompt(exemplars, question)

    def zero_shot(self, prompt: str) -> str:
        """A fine-tuning prompt, which a mixture holds as plain text, as the model is given it."""
        return prompt

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, with or without what follows."""
        return self.tokenizer.encode_batch(list(texts))

    def ends(self, token: int) -> bool:
        """Whether an answer as this style writes it ends with this token."""
        return b"\n" in self.tokenizer.token_bytes[token]

    def end_of_answer(self, where: str) -> int:
        """The token that ends a trained answer. Raises InputError when the checkpoint `where` names none."""
        if not self.tokenizer.eos_ids:
            raise InputError(f"{where}: names no end-of-text token; set eos_token_id in its generation_config.json")
        return self.tokenizer.eos_ids[0]


class Chat(Qa):
    """Turns of a chat: exemplars are questions of the user with answers of the assistant, the question comes last.

    Token ids are those of transformers' `apply_chat_template(messages, add_generation_prompt=True)`: the template
    writes BOS itself, so none is added. Where the assistant's turn ends is read off the template.
    """

    def __init__(self, tokenizer: Tokenizer, options: Sequence[str] = ()):
        """`options`: variables of the template as `name=value`. Raises InputError when the folder has no template, or
        one behind whose generation prompt no answer can follow on the same line."""
        if tokenizer.chat_template is None:
            raise InputError(
                f"{tokenizer.where}: no chat template: neither chat_template.jinja nor chat_template in"
                " tokenizer_config.json; a base model is asked with config.annotate.prompt_style='qa'"
            )
        self.tokenizer = tokenizer
        values = {name: BOOLS.get(value.lower(), value) for name, _, value in (one.partition("=") for one in options)}
        self._template = ChatTemplate(tokenizer.chat_template, tokenizer.named, values, tokenizer.where)
        prompt = self._open([], _QUESTION)
        turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
        whole = self._template.render(turns, add_generation_prompt=False)
        self.before, found, self.after = whole.removeprefix(prompt).partition(_ANSWER)
        stops = any(tokenizer.is_stop[token] for token in self.encode([self.before])[0])
        if not whole.startswith(prompt) or not found or stops:
            raise InputError(
                f"{tokenizer.where}: the chat template opens an answer with {prompt[-60:]!r} but writes one as"
                f" {whole[-60:]!r}, so that a short answer does not follow; where it lets the model think first, switch"
                " that off, such as config.annotate.chat_options=('enable_thinking=false',)"
            )
        self.target_before, self.stop = self.before, self._end_of_turn(prompt, whole)
        digest = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
        self.name = f"chat: template {digest}, {sorted(values.items())}, a prompt {prompt!r}, answered {whole!r}"

    def few_shot(self, exemplars: Sequence[Example], question: str) -> str:
        turns = [
            {"role": role, "content": text}
            for row in exemplars
            for role, text in (("user", row.question), ("assistant", row.answers[0]))
        ]
        return self._open(turns, question)

    def zero_shot(self, prompt: str) -> str:
        return self._open([], prompt.rstrip("\n"))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer.encode_batch(list(texts), framed=False)

    def ends(self, token: int) -> bool:
        return token == self.stop

    def end_of_answer(self, where: str) -> int:
        return self.stop

    def _end_of_turn(self, prompt: str, whole: str) -> int:
        """The first stop behind the answer of a whole chat; end-of-text where the template writes none."""
        tokenizer, seen = self.tokenizer, b""
        opened, answered = self.encode([prompt, whole])
        pairs = zip(opened, answered, strict=False)
        for token in answered[next((i for i, (one, other) in enumerate(pairs) if one != other), len(opened)) :]:
            seen += tokenizer.token_bytes[token]
            if _ANSWER.encode() in seen and tokenizer.is_stop[token]:
                # a newline may be one token with the end of the answer
                return tokenizer.newline if tokenizer.token_bytes[token].strip() else token
        return tokenizer.eos_ids[0] if tokenizer.eos_ids else tokenizer.newline

    def _open(self, turns: list[dict[str, str]], question: str) -> str:
        return self._template.render([*turns, {"role": "user", "content": question}], add_generation_prompt=True)


def prompt_style(settings: AnnotateConfig, tokenizer: Tokenizer) -> Qa | Chat:
    """The style that `annotate.prompt_style` names. Raises InputError for a model that cannot be asked so."""
    return Chat(tokenizer, settings.chat_options) if settings.prompt_style == "chat" else Qa(tokenizer)
