"""The default model under another chat template: one that has tools, as larger models' have."""

from __future__ import annotations

import struct
from pathlib import Path

_KEY = b"tokenizer.chat_template" + struct.pack("<I", 8)
_TEMPLATE = (
    "{%% if tools %%}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{%% endif %%}"
    "{%% for m in messages %%}<|im_start|>{{ m.role }}\n{{ m.content }}%s<|im_end|>\n{%% endfor %%}"
    "{%% if add_generation_prompt %%}<|im_start|>assistant\n{%% endif %%}"
)
BARE_CALLS = _TEMPLATE % "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}"
"""A call is JSON with no mark before it, as Llama 3's."""
MARKED_CALLS = _TEMPLATE % "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
"""A call stands between tags, as Qwen's."""


def retemplate(model: Path, copy: Path, template: str = BARE_CALLS) -> None:
    """Copy a GGUF file with another template of no more bytes: a comment fills the rest, so that nothing moves."""
    data = bytearray(model.read_bytes())
    at = data.index(_KEY) + len(_KEY)
    (size,) = struct.unpack_from("<Q", data, at)
    filler = size - len(template.encode())
    assert filler >= 4, f"the template is {4 - filler} bytes too long"
    written = template.encode() + b"{#" + b" " * (filler - 4) + b"#}"
    data[at + 8 : at + 8 + size] = written
    copy.write_bytes(data)
