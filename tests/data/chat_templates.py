"""Chat templates in the manner of published ones, and the files of small tokenizers that go with them."""

import json

from tests.data.small_tokenizers import byte_level_files, metaspace_backend

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Llama 3: BOS of its own, trimmed contents, a date unless it is given
DATED = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{{- "<|im_start|>system\\n\\nToday Date: " + date_string + "<|im_end|>" }}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n\\n'+ message['content'] | trim + '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n\\n' }}
{%- endif %}
"""
# Gemma and Mistral: roles renamed, turns checked, a namespace, loop controls, end-of-text behind answers
CHECKED = """{{ bos_token }}{% set state = namespace(n=0) %}
{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate user/assistant') }}
    {% endif %}
    {% if not message.content %}{% continue %}{% endif %}
    {% set state.n = state.n + 1 %}
{{ ' [INST] ' + message.content + ' [/INST]' if message.role == 'user' else ' ' + message.content + eos_token -}}
{% endfor %}"""
# Qwen 3: lets the model think unless told not to; answers are marked, strings quoted
THINKING = """{% for message in messages %}
<|im_start|>{{ message.role }}
{% if message.role == 'assistant' %}{% generation %}<think>

</think>

{{ message.content }}<|im_end|>
{% endgeneration %}
{% else %}{{ message.content | tojson }}<|im_end|>
{% endif %}
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""
# The texts of the qa style, so that both must give the same answers: few-shot, and without exemplars
AS_QA = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ 'Q: ' + m.content + '\nA:' if m.role == 'user' else ' ' + m.content + '\n' }}{% endfor %}"
)
AS_FINE_TUNING = "{{ bos_token }}{% for m in messages %}{{ m.content + '\n' }}{% endfor %}"
TEMPLATES = {"chatml": CHATML, "dated": DATED, "checked": CHECKED, "thinking": THINKING}
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>"}
ADDED = [
    {"id": 900, "content": text, "special": True, "normalized": False, "lstrip": False, "rstrip": text == "<|im_end|>",
     "single_word": False}
    for text in ("<|im_start|>", "<|im_end|>")
]  # fmt: skip


def chat_files(template, kind="byte_level"):
    """Files of a folder that adds BOS: a byte-level BPE without tokenizer.json, or a Llama-2-like one with it."""
    added = {str(500 + i): {k: v for k, v in token.items() if k != "id"} for i, token in enumerate(ADDED)}
    settings = {"chat_template": template, **NAMED}
    if kind == "byte_level":
        settings |= {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "added_tokens_decoder": added}
        files = byte_level_files()
    else:
        settings |= {"tokenizer_class": "LlamaTokenizer", "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
        files = {"tokenizer.json": metaspace_backend().to_str().encode()}
    return files | {"tokenizer_config.json": json.dumps(settings).encode()}
