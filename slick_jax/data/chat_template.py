"""Chat templates: Jinja2 in a sandbox, with the options, filters and functions that transformers gives them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from slick_jax.errors import InputError

Message = Mapping[str, str]  # role and content


class ChatTemplate:
    """A model's template, with everything a rendering hangs on besides the messages.

    `strftime_now` tells the time at which this object was made, so that all prompts of a run have one date.
    """

    def __init__(self, source: str, named: Mapping[str, str], options: Mapping[str, Any], where: str):
        """`named`: special tokens by role (`bos_token` and so on). `options`: further variables, such as
        `enable_thinking`. `where` names the template in errors. Raises InputError for a template that is not Jinja."""
        self.source, self.where = source, where
        self.variables = {**named, **options}
        try:
            self._template = _environment(datetime.datetime.now()).from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise InputError(
                f"{where}: the chat template is not valid Jinja (its line {error.lineno}: {error.message}); copy it "
                "again from the checkpoint"
            ) from error
        except Exception as error:  # nested too deeply for Jinja, or for the Python that it makes of it
            raise InputError(
                f"{where}: the chat template cannot be compiled ({type(error).__name__}: {error}); copy it again from"
                " the checkpoint"
            ) from error

    def render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        """The text of a chat, as `apply_chat_template(messages, tokenize=False)` of transformers gives it.

        Raises InputError where the template refuses the messages, or is broken.
        """
        try:
            return self._template.render(
                messages=[dict(one) for one in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.variables,
            )
        except Exception as error:  # templates are code of others: whatever they raise is about them
            raise InputError(
                f"{self.where}: the chat template refuses a chat of {', '.join(one['role'] for one in messages)} "
                f"({type(error).__name__}: {error}); use config.annotate.prompt_style='qa', or mend the template"
            ) from error


class _Generation(Extension):
    """`{% generation %}` marks what the assistant said; here its body is simply written."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller: jinja2.runtime.Macro) -> str:
        return caller()


class _Dict:
    """`dict` of a template: calls only, no attributes of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """`namespace` of a template, which takes no names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any):
        self, *rest = args  # so that namespace(self=...) works, as in Jinja
        values = dict(*rest, **kwargs)
        for name in values:
            _refuse_underscore(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not set {name!r} on a namespace")


def _environment(now: datetime.datetime) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols],
        optimized=False,  # which would compute constants, however large, before any rendering
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise, "strftime_now": now.strftime, "dict": _Dict(), "namespace": _Namespace,
    }  # fmt: skip
    return environment


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter would escape HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
