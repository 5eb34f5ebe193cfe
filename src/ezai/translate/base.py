"""What a translator is, and what it must know of the upstream it speaks to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ezai.errors import RequestError
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.protocol.end import UsageSource
from ezai.protocol.event import Event
from ezai.protocol.usage import Usage
from ezai.translate.terms import AnswerTerms

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in wire order; names are lower case."""


class Dialect(StrEnum):
    """A wire language of an upstream."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"


class MidSystem(StrEnum):
    """What becomes of a system message in the middle of a conversation."""

    FOLD = "fold"
    """It goes into the user's turn, as a reminder: most chat templates refuse it in its place."""
    NATIVE = "native"
    """It stays where it is."""
    HOIST = "hoist"
    """It joins the system prompt, which spoils the cache of everything behind it."""


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """One speaker of a dialect: facts that change what is sent to it or how its answer is read."""

    dialect: Dialect
    takes_top_k: bool = False
    """It knows the sampling field `top_k` (vLLM, llama.cpp, OpenRouter)."""
    is_llama_cpp: bool = False
    """It tells, when asked, the prompt's size before the first token and the stop string that ended the answer. A call
    is forced on it by a schema."""
    counts_tokens: bool = False
    """It counts the tokens of a prompt without generating."""
    max_stop_sequences: int | None = None
    """More of them than this are refused by it; None: no limit known."""
    takes_tools: bool = True
    """Its models' chat templates know tools."""
    grammars: bool = False
    """It holds an answer to a grammar of llguidance, from its first character on."""
    bare_calls: bool = False
    """Its chat template writes calls as JSON with no mark before it, so that its server takes every text with a brace
    in it for one: they are looked for here."""
    takes_media: bool = True
    """It takes images and files."""
    takes_prefill: bool = True
    """It goes on with an answer that the conversation ends in."""
    is_openai: bool = False
    """It is OpenAI's own service, which knows no `max_tokens` for newer models, and more efforts than others."""
    mid_system: MidSystem = MidSystem.FOLD
    """What becomes of a system message in the middle of a conversation."""
    max_output: int | None = None
    """More tokens than this are not asked of it; None: as many as the client says."""
    signing_key: bytes = field(default=b"", repr=False)
    """Signs the thinking of its models, which comes without a signature."""
    strip_betas: tuple[str, ...] = ()
    """Values of `anthropic-beta` that it refuses, as globs."""
    strip_fields: tuple[tuple[str, ...], ...] = ()
    """Fields of the body that it refuses, as paths: ("tools", "*", "cache_control", "scope")."""
    credentials: tuple[str, ...] = field(default=(), repr=False)
    """What the gateway shows it: cut out of what it says, wherever that is told on."""


ANTHROPIC = UpstreamFacts(Dialect.ANTHROPIC, takes_top_k=True, counts_tokens=True)
OPENAI_COMPATIBLE = UpstreamFacts(Dialect.OPENAI, max_stop_sequences=4)
OPENAI_ITSELF = replace(OPENAI_COMPATIBLE, is_openai=True, takes_prefill=False)
LLAMA_CPP = UpstreamFacts(
    Dialect.OPENAI, takes_top_k=True, is_llama_cpp=True, counts_tokens=True, takes_tools=False, takes_media=False
)


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request as the translator wants it sent; `path` stands behind the upstream's base URL.

    `headers` holds no credential, host or framing: the upstream adds its own.
    """

    method: str
    path: str
    headers: Headers
    body: bytes
    terms: AnswerTerms = AnswerTerms()
    """How its answer is to be read."""


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

    @property
    def told_end(self) -> bool:
        """Whether the upstream has told why it finished, so that `close` succeeds, though it may have more to say.

        False for a tap: its end is the upstream's own.
        """
        ...

    @property
    def cut_short(self) -> bool:
        """Whether the message was ended here while the upstream goes on: it has to be told to stop. False for a tap."""
        ...

    @property
    def feed_plain(self) -> Callable[[bytes, StreamState], bool] | None:
        """The short way of a tap: takes bytes that begin a frame, and the state of the stream before them.

        Returns True where they are one frame with a delta that `read`, `feed` and `StreamState.process` would hand back
        as it is, changing nothing of the state: it is fed then. Returns False for all else, also for what is faulty,
        which has to go that way. None for a transform.
        """
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

    def rewrites(self, request: MessagesRequest) -> bool:
        """Whether the upstream is sent another body than the client's: then making it takes as long as it is large."""
        ...

    def request(self, request: MessagesRequest) -> UpstreamRequest:
        """What to ask the upstream. Raises `InvalidRequest` for what it cannot be asked."""
        ...

    def count_request(self, request: MessagesRequest) -> UpstreamRequest:
        """How to ask for the number of input tokens, where `facts.counts_tokens`."""
        ...

    def estimate_tokens(self, request: MessagesRequest) -> int:
        """About how many input tokens it has, where nobody counts them; at least one. Raises as `request` does."""
        ...

    def stream(self, message_id: str, request: MessagesRequest, terms: AnswerTerms) -> StreamTranslator:
        """A fresh stream translator; `message_id` is for an answer made here, `terms` are those of `request`."""
        ...

    def answer_headers(self, headers: Headers) -> Headers:
        """The fields of the upstream's answer that go back to the client."""
        ...

    def refusal(self, status: int, headers: Headers, body: bytes, requested_model: str) -> RequestError:
        """An error answer, as the client is told it. Holds nothing of the upstream's inside."""
        ...
