"""What one answer is like, as one immutable value.

The fields here are the settings of a well-behaved answer and of when its faults happen; the faults themselves are rows
of `faults/table.py`. Both are written alike, see `spec.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, get_type_hints

from ezai.lab.mock import values
from ezai.lab.mock.reply import Framing
from ezai.lab.mock.values import Reader


class StreamFraming(StrEnum):
    """How the end of a body is told; `auto` is chunked for a stream and a length for everything else."""

    AUTO = "auto"
    CHUNKED = Framing.CHUNKED.value
    LENGTH = Framing.LENGTH.value
    CLOSE = Framing.CLOSE.value


class UsageOn(StrEnum):
    """Which chunks of the OpenAI wire state usage."""

    OWN = "own"
    FINISH = "finish"
    EVERY = "every"


class LineEnd(StrEnum):
    """What ends the lines of a stream."""

    LF = "lf"
    CRLF = "crlf"
    CR = "cr"


class Setting(NamedTuple):
    """How a setting is read, and what it means."""

    reader: Reader[Any]
    meaning: str
    is_local: bool = False
    """Whether only whoever runs the mock may set it, not a request."""


_REASONING_FIELDS = values.one_of("reasoning_content", "reasoning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What one answer is like. Made by `spec.behaviour`, which checks names and values."""

    tokens: Annotated[int, Setting(values.COUNT, "Tokens of text; fewer where `max_tokens` is less.")] = 20
    rate: Annotated[float, Setting(values.RATE, "Tokens per second; 0 is as fast as possible.")] = 0.0
    endless: Annotated[bool, Setting(values.FLAG, "The text never ends; with `rate=1` it drips.")] = False
    text: Annotated[str, Setting(values.TEXT, "The text itself, told in `tokens` pieces, instead of numbers.")] = ""
    token_bytes: Annotated[int, Setting(values.SIZE, "Pads every token of numbered text to this size.")] = 0
    thinking: Annotated[int, Setting(values.COUNT, "Tokens of thinking before the text.")] = 0
    tools: Annotated[int, Setting(values.COUNT, "Tool calls after the text.")] = 0
    tool_name: Annotated[
        str, Setting(values.TEXT, "The tool called; empty: the request's first tool, else `lookup`.")
    ] = ""
    tool_fragments: Annotated[int, Setting(values.COUNT, "Pieces in which the arguments of a tool call come.")] = 4
    pings: Annotated[int, Setting(values.COUNT, "Anthropic: `ping` events after the first block has started.")] = 1
    input_tokens: Annotated[int, Setting(values.COUNT, "Input tokens stated; 0: a quarter of the body's bytes.")] = 0
    cached_tokens: Annotated[
        int, Setting(values.COUNT, "Tokens read from the prompt cache, stated beside the input.")
    ] = 0
    stop_reason: Annotated[str, Setting(values.TEXT, "In the wire's own words; empty: the fitting one.")] = ""
    usage_on: Annotated[UsageOn, Setting(values.choice(UsageOn), "OpenAI: which chunks state usage.")] = UsageOn.OWN
    reasoning_field: Annotated[str, Setting(_REASONING_FIELDS, "OpenAI: the field of thinking.")] = "reasoning_content"
    recording: Annotated[
        bytes,
        Setting(
            values.FILE,
            "A recorded stream, played event by event in place of one made here. Not for model names and headers.",
            is_local=True,
        ),
    ] = b""
    line_end: Annotated[LineEnd, Setting(values.choice(LineEnd), "What ends the lines of a stream.")] = LineEnd.LF
    framing: Annotated[
        StreamFraming,
        Setting(values.choice(StreamFraming), "How a body's end is told; `auto`: chunks for a stream, else a length."),
    ] = StreamFraming.AUTO
    piece_delay_s: Annotated[
        float,
        Setting(
            values.SECONDS, "Between the pieces of `slice` and `split`; 0: until a peer in the same process has read."
        ),
    ] = 0.0
    error_type: Annotated[str, Setting(values.TEXT, "The type of an error; empty: the one that fits the status.")] = ""
    error_message: Annotated[str, Setting(values.TEXT, "The message of an error.")] = ""
    retry_after: Annotated[str, Setting(values.TEXT, "`retry-after` of an error answer, sent as it is written.")] = ""
    times: Annotated[
        int, Setting(values.COUNT, "Faults only for the first so many requests of this behaviour; 0: all.")
    ] = 0
    chance: Annotated[float, Setting(values.CHANCE, "Faults only with this probability.")] = 1.0
    seed: Annotated[int, Setting(values.COUNT, "Of `chance`: the same seed gives the same sequence.")] = 0
    faults: tuple[tuple[str, Any], ...] = ()
    """Names of the table and their values, in the table's order."""
    written: str = ""
    """The readable form."""


def settings() -> dict[str, tuple[Setting, object]]:
    """Every setting of a behaviour that is no fault, and its default, in order."""
    hints = get_type_hints(Behaviour, include_extras=True)
    defaults = {item.name: item.default for item in fields(Behaviour)}
    return {
        name: (hint.__metadata__[0], defaults[name]) for name, hint in hints.items() if hasattr(hint, "__metadata__")
    }
