"""What a translator is, and what it must know of the upstream it speaks to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from ezai.errors import RequestError
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.protocol.end import UsageSource
from ezai.protocol.event import Event
from ezai.protocol.usage import Usage

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in wire order; names are lower case."""


class Dialect(StrEnum):
    """A wire language of an upstream."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One speaker of a dialect: facts that change what is sent to it or how its answer is read."""

    dialect: Dialect
    takes_top_k: bool = False
    """It knows the sampling field `top_k` (vLLM, llama.cpp, OpenRouter)."""
    is_llama_cpp: bool = False
    """It tells, when asked, the prompt's size before the first token and the stop string that ended the answer."""
    counts_tokens: bool = False
    """It counts the tokens of a prompt without generating."""
    max_stop_sequences: int | None = None
    """More of them than this are refused by it; None: no limit known."""
    strip_betas: tuple[str, ...] = ()
    """Values of `anthropic-beta` that it refuses, as globs."""
    strip_fields: tuple[tuple[str, ...], ...] = ()
    """Fields of the body that it refuses, as paths: ("tools", "*", "cache_control", "scope")."""


ANTHROPIC = UpstreamFacts(Dialect.ANTHROPIC, takes_top_k=True, counts_tokens=True)
OPENAI_COMPATIBLE = UpstreamFacts(Dialect.OPENAI, max_stop_sequences=4)
LLAMA_CPP = UpstreamFacts(Dialect.OPENAI, takes_top_k=True, is_llama_cpp=True, counts_tokens=True)


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One HTTP request as the translator wants it sent; `path` stands behind the upstream's base URL.

    `headers` holds no credential, host or framing: the upstream adds its own.
    """

    method: str
    path: str
    headers: Headers
    body: bytes


class StreamTranslator(Protocol):
    """The stateful half, one per attempt: an upstream's stream into Messages events.

    `read` and `feed` raise `UpstreamMalformed` (or its kin) for what is not the dialect and `UpstreamRefused` for an
    error told inside the stream; after that the translator is done.
    """

    @property
    def usage(self) -> Usage:
        """What the answer has used so far, as far as it is known."""
        ...

    @property
    def usage_source(self) -> UsageSource:
        """How `usage` is known."""
        ...

    def read(self, frame: bytes) -> Event[Any]:
        """Decode one frame of the upstream's stream."""
        ...

    def feed(self, event: Event[Any]) -> Sequence[MessagesEvent]:
        """The events to send for it, often one: the same object in a tap, others in a transform."""
        ...

    def close(self) -> Sequence[MessagesEvent]:
        """The events that remain to be sent when the upstream's body has ended.

        Raises `UpstreamTruncated` when it had not told its end.
        """
        ...


class Translator(Protocol):
    """A dialect pair, for one target: the stateless half."""

    def request(self, request: MessagesRequest) -> UpstreamRequest:
        """What to ask the upstream. Raises `InvalidRequest` for what it cannot be asked."""
        ...

    def count_request(self, request: MessagesRequest) -> UpstreamRequest:
        """How to ask for the number of input tokens, where `facts.counts_tokens`."""
        ...

    def stream(self, message_id: str, request: MessagesRequest) -> StreamTranslator:
        """A fresh stream translator; `message_id` is for an answer made here."""
        ...

    def answer_headers(self, headers: Headers) -> Headers:
        """The fields of the upstream's answer that go back to the client."""
        ...

    def refusal(self, status: int, headers: Headers, body: bytes, requested_model: str) -> RequestError:
        """An error answer, as the client is told it. Holds nothing of the upstream's inside."""
        ...
