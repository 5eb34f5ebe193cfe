"""The chunks of a Chat Completions stream: frames to `Event`s.

What varies between servers is read here and only here: usage on its own chunk, on the finish chunk or on every one;
choices absent or empty; reasoning under three names; content as text or as parts; arguments as text or as an object;
characters cut in two (`halves`); errors in a 200 stream. Source: reference of the Messages API, section 7.5.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ezai.errors import UpstreamMalformed
from ezai.protocol.event import COMMENT, Event
from ezai.protocol.openai.errors import read_error
from ezai.protocol.sse import parse_frame
from ezai.protocol.usage import OutputDetails, UsageReport, is_count

CHUNK = "chunk"
DONE = "done"
ERROR = "error"

_DONE_MARK = b"[DONE]"
_ERROR_LINE = b"error:"
_NO_ERROR = (None, False, "")


class PromptDetails(msgspec.Struct, frozen=True):
    """How much of the prompt came from the cache; `cache_write_tokens` is new in the vendor's types."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True):
    """The part of the completion that was reasoning."""

    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct, frozen=True):
    """Usage as chat completions report it; `prompt_tokens` includes what was cached."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached_tokens

    def report(self) -> UsageReport:
        """The same in the terms of the Messages API, where input excludes the cache. What is no count is left out."""
        details = self.prompt_tokens_details or PromptDetails()
        read = _count(details.cached_tokens or self.prompt_cache_hit_tokens) or 0
        written = _count(details.cache_write_tokens) or 0
        prompt = _count(self.prompt_tokens) or None  # no prompt has none: some servers send 0 until they know
        reasoning = self.completion_tokens_details
        return UsageReport(
            input_tokens=None if prompt is None else max(0, prompt - read - written),
            cache_creation_input_tokens=written,
            cache_read_input_tokens=read,
            output_tokens=_count(self.completion_tokens),
            output_tokens_details=OutputDetails(reasoning.reasoning_tokens if reasoning else None),
        )


class ReasoningDetail(msgspec.Struct, frozen=True):
    """A part of OpenRouter's `reasoning_details`; an encrypted one has neither text nor summary."""

    text: str | None = None
    summary: str | None = None


class CalledFunction(msgspec.Struct, frozen=True):
    """Name and arguments of a call, or a piece of either. Some servers send arguments as the object itself."""

    name: str | None = None
    arguments: str | dict[str, msgspec.Raw] | None = None

    def arguments_text(self) -> str:
        """The arguments as text of JSON; empty where there are none."""
        if isinstance(self.arguments, dict):
            return _encode(self.arguments).decode()
        return self.arguments or ""


class GoogleContent(msgspec.Struct, frozen=True):
    """What Gemini adds to a call: its signature of the thought before it."""

    thought_signature: str | None = None


class ExtraContent(msgspec.Struct, frozen=True):
    """What a vendor adds to a call, under its name."""

    google: GoogleContent | None = None


class CallFragment(msgspec.Struct, frozen=True):
    """A fragment of a tool call. Nothing of it is always there."""

    index: int | str | None = None
    id: str | None = None
    function: CalledFunction | None = None
    extra_content: ExtraContent | None = None  # Gemini

    def signature(self) -> str:
        """Gemini's signature of the thought before the call; empty where there is none."""
        google = self.extra_content.google if self.extra_content else None
        return (google.thought_signature if google else None) or ""


class TextPart(msgspec.Struct, frozen=True):
    """A piece of text inside a part."""

    text: str | None = None


class ContentPart(msgspec.Struct, frozen=True):
    """A part of content that is a list, as Mistral sends it; of other kinds than text and thinking nothing is read."""

    text: str | None = None
    thinking: str | list[TextPart] | None = None

    def thinking_text(self) -> str:
        """What it holds of thinking."""
        if isinstance(self.thinking, list):
            return "".join(part.text or "" for part in self.thinking)
        return self.thinking or ""


class ChatDelta(msgspec.Struct, frozen=True):
    """What a chunk adds."""

    content: str | list[ContentPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None  # DeepSeek, SGLang, llama.cpp
    reasoning: str | None = None  # vLLM from 0.11 on, OpenRouter, Groq
    reasoning_details: list[ReasoningDetail] | None = None  # OpenRouter
    tool_calls: list[CallFragment] | None = None
    function_call: CalledFunction | None = None  # of before there were tools


class Choice(msgspec.Struct, frozen=True):
    """The one answer asked for. `stop_reason` is vLLM's: the stop string that ended it, or a token id.

    `message` stands in the place of `delta` where a server streams its whole answer at once.
    """

    delta: ChatDelta | None = None
    message: ChatDelta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class PromptProgress(msgspec.Struct, frozen=True):
    """llama.cpp's word on the prompt, before the first token (`return_progress`)."""

    total: int = 0
    cache: int = 0


class Verbose(msgspec.Struct, frozen=True):
    """llama.cpp's details of the last chunk (`verbose`): the stop string that ended the answer."""

    stopping_word: str = ""


class ChatChunk(msgspec.Struct, frozen=True):
    """One chunk, as far as it is read."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    error: Any = None
    """Whatever a server puts there: `errors.as_object` reads it."""
    object: str | None = None
    prompt_progress: PromptProgress | None = None
    verbose: Verbose | None = msgspec.field(default=None, name="__verbose")


class HalvedChunk(ChatChunk, frozen=True):
    """A chunk whose text may begin or end with half of a character: `Halves` puts them together."""


ChatEvent = Event[ChatChunk]

_decode = msgspec.json.Decoder(ChatChunk).decode
_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_half = re.compile(rb"\\u[dD][89a-fA-F]").search
_EMPTY = ChatChunk()


def read_chunk(frame: bytes) -> ChatEvent:
    """Read one frame: kind CHUNK, ERROR (an error object, or `event: error`), DONE or COMMENT.

    Raises `UpstreamMalformed` for invalid UTF-8 or JSON, or a chunk that is none.
    """
    name, data = parse_frame(frame)
    if not data:  # no event, as the standard has it
        return _error_line(frame) if frame.startswith(_ERROR_LINE) else Event(COMMENT, _EMPTY, None, frame)
    if data.startswith(_DONE_MARK):
        return Event(DONE, _EMPTY, data, frame)
    try:
        if not data.isascii():
            data.decode()
        chunk = _decode(data)
    except UnicodeDecodeError:
        raise UpstreamMalformed("The upstream sent a chunk that is not UTF-8.") from None
    except msgspec.ValidationError:
        chunk = _without_usage(data)
    except (msgspec.DecodeError, RecursionError):
        chunk = _with_halves(data)
    if name == b"error" or chunk.object == "error":
        chunk = ChatChunk(error=read_error(data) or {})
    return Event(CHUNK if chunk.error in _NO_ERROR else ERROR, chunk, data, frame)


def _error_line(frame: bytes) -> ChatEvent:
    """llama.cpp's error, until it was an event: a line of its own, with the object in it."""
    return Event(ERROR, ChatChunk(error=read_error(frame.removeprefix(_ERROR_LINE)) or {}), None, frame)


def _without_usage(data: bytes) -> ChatChunk:
    """A chunk that cannot be read as it is, without its usage: counts that are no numbers take no text along.

    One that is a list holds Gemini's error.
    """
    try:
        if data.startswith(b"[") and (error := read_error(data)):
            return ChatChunk(error=error)
        members = _decode_members(data)
        members.pop("usage", None)
        return _decode(msgspec.json.encode(members))
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamMalformed(f"The upstream sent a chunk that is none: {error}.") from None


def _with_halves(data: bytes) -> ChatChunk:
    """A chunk that is no JSON to msgspec, which takes no half of a character. One that is an error is none."""
    import json  # noqa: TID251  the standard library's takes them, and is wanted nowhere else

    try:
        chunk = msgspec.convert(json.loads(data if _half(data) else b""), HalvedChunk)
        if chunk.error in _NO_ERROR:
            return chunk
    except (ValueError, msgspec.ValidationError, RecursionError):
        pass
    raise UpstreamMalformed("The upstream sent a chunk whose data is not JSON, or nested too deeply.") from None


def _count(value: int | None) -> int | None:
    return value if is_count(value) else None
