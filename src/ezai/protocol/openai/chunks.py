"""The chunks of a Chat Completions stream: frames to `Event`s.

What varies between servers is read here and only here: usage on its own chunk, on the finish chunk or on every one;
choices absent or empty; an error object in a 200 stream. Source: reference of the Messages API, section 7.5.
"""

from __future__ import annotations

import msgspec

from ezai.errors import UpstreamMalformed
from ezai.protocol.event import COMMENT, Event
from ezai.protocol.openai.errors import ErrorObject
from ezai.protocol.sse import parse_frame
from ezai.protocol.usage import OutputDetails, UsageReport

CHUNK = "chunk"
DONE = "done"
ERROR = "error"

_DONE_MARK = b"[DONE]"


class PromptDetails(msgspec.Struct, frozen=True):
    """How much of the prompt came from the cache; `cache_write_tokens` is new in the vendor's types."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True):
    """The part of the completion that was reasoning."""

    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct, frozen=True):
    """Usage as chat completions report it; `prompt_tokens` includes what was cached."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached_tokens

    def report(self) -> UsageReport:
        """The same in the terms of the Messages API, where input excludes the cache."""
        details = self.prompt_tokens_details or PromptDetails()
        read = details.cached_tokens or self.prompt_cache_hit_tokens or 0
        written = details.cache_write_tokens or 0
        reasoning = self.completion_tokens_details
        return UsageReport(
            input_tokens=max(0, self.prompt_tokens - read - written),
            cache_creation_input_tokens=written,
            cache_read_input_tokens=read,
            output_tokens=max(0, self.completion_tokens),
            output_tokens_details=OutputDetails(reasoning.reasoning_tokens if reasoning else None),
        )


class ChatDelta(msgspec.Struct, frozen=True):
    """What a chunk adds."""

    content: str | None = None


class Choice(msgspec.Struct, frozen=True):
    """The one answer asked for. `stop_reason` is vLLM's: the stop string that ended it, or a token id."""

    delta: ChatDelta | None = None
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
    error: ErrorObject | str | None = None
    prompt_progress: PromptProgress | None = None
    verbose: Verbose | None = msgspec.field(default=None, name="__verbose")


ChatEvent = Event[ChatChunk]

_decode = msgspec.json.Decoder(ChatChunk).decode
_EMPTY = ChatChunk()


def read_chunk(frame: bytes) -> ChatEvent:
    """Read one frame: kind CHUNK, ERROR (an error object, or `event: error`), DONE or COMMENT.

    Raises `UpstreamMalformed` for invalid UTF-8 or JSON, or a chunk that is none.
    """
    name, data = parse_frame(frame)
    if data is None:
        return Event(COMMENT, _EMPTY, None, frame)
    if data.startswith(_DONE_MARK):
        return Event(DONE, _EMPTY, data, frame)
    try:
        if not data.isascii():
            data.decode()
        chunk = _decode(data)
    except UnicodeDecodeError:
        raise UpstreamMalformed("The upstream sent a chunk that is not UTF-8.") from None
    except msgspec.ValidationError as error:
        raise UpstreamMalformed(f"The upstream sent a chunk that is none: {error}.") from None
    except msgspec.DecodeError:
        raise UpstreamMalformed("The upstream sent a chunk whose data is not JSON.") from None
    return Event(ERROR if chunk.error is not None or name == b"error" else CHUNK, chunk, data, frame)
