"""Messages in, Chat Completions out.

The request half builds one chat request from a conversation; the stream half turns chunks into Messages events, with
one small method per emitted event. A unary answer is the fold of the stream, so the upstream is always asked to
stream. Source: reference of the Messages API, section 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ezai.errors import InvalidRequest, RequestError, UpstreamTruncated
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.answers import blank_message, final_usage
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.requests import Conversation, MessageParam, MessagesRequest, TextBlock
from ezai.protocol.end import UsageSource
from ezai.protocol.event import Event
from ezai.protocol.openai import chunks
from ezai.protocol.openai.chunks import ChatChunk, ChatDelta, ChatEvent, Choice, read_chunk
from ezai.protocol.openai.errors import as_object
from ezai.protocol.usage import Usage
from ezai.translate.base import Headers, UpstreamFacts, UpstreamRequest
from ezai.translate.crossing import to_client
from ezai.translate.refusals import chat_refusal, in_stream_refusal

_JSON = ((b"content-type", b"application/json"),)
_encode = msgspec.json.Encoder().encode

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
}
"""finish_reason to stop_reason; one that is not here ended the turn."""


class AnthropicToOpenAI:
    """The pair for one target: `model` as the upstream calls it."""

    def __init__(self, model: str, facts: UpstreamFacts) -> None:
        self._model = model
        self._facts = facts

    def request(self, request: MessagesRequest) -> UpstreamRequest:
        body = {
            **self._prompt(request.conversation()),
            "max_tokens": max(1, request.max_tokens),  # 0 asks to warm the cache; no upstream generates nothing
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._facts.is_llama_cpp:
            body |= {"return_progress": True, "verbose": True}
        return UpstreamRequest("POST", "/chat/completions", _JSON, _encode(body))

    def count_request(self, request: MessagesRequest) -> UpstreamRequest:
        body = _encode(self._prompt(request.conversation()))
        return UpstreamRequest("POST", "/chat/completions/input_tokens", _JSON, body)

    def stream(self, message_id: str, request: MessagesRequest) -> MessagesFromChat:
        return MessagesFromChat(message_id, request)

    def answer_headers(self, headers: Headers) -> Headers:
        return to_client([(b"request-id", value) for name, value in headers if name == b"x-request-id"])

    def refusal(self, status: int, headers: Headers, body: bytes, requested_model: str) -> RequestError:
        return chat_refusal(status, headers, body, requested_model)

    def _prompt(self, conversation: Conversation) -> dict[str, Any]:
        prompt: dict[str, Any] = {"model": self._model, "messages": list(_turns(conversation))}
        if stop := conversation.stop_sequences:
            limit = self._facts.max_stop_sequences
            if limit is not None and len(stop) > limit:
                raise InvalidRequest(f"stop_sequences: the upstream of this model takes at most {limit}")
            prompt["stop"] = stop
        if conversation.temperature is not None:
            prompt["temperature"] = conversation.temperature
        if conversation.top_p is not None:
            prompt["top_p"] = conversation.top_p
        if conversation.top_k is not None and self._facts.takes_top_k:
            prompt["top_k"] = conversation.top_k
        return prompt


# The request: turns.


def _turns(conversation: Conversation) -> Iterator[dict[str, str]]:
    """Chat messages: the system prompt first, then turns with consecutive ones of one role merged, as the API does."""
    if system := _text(conversation.system or ""):
        yield {"role": "system", "content": system}
    role, texts = "", list[str]()
    for message in conversation.messages:
        turn_role, text = _turn(message)
        if turn_role != role and texts:
            yield {"role": role, "content": "\n\n".join(texts)}
            texts = []
        role = turn_role
        texts.append(text)
    yield {"role": role, "content": "\n\n".join(texts)}


def _turn(message: MessageParam) -> tuple[str, str]:
    """A system message in mid-conversation is folded into the user's turn: most chat templates refuse it in place."""
    text = _text(message.content)
    if message.role == "system":
        return "user", f"<system-reminder>\n{text}\n</system-reminder>"
    return message.role, text


def _text(content: str | Sequence[TextBlock]) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(block.text for block in content if block.text)


# The answer: chunks to events.


class MessagesFromChat:
    """One Chat Completions stream as Messages events; legal by construction, checked again by the pipeline."""

    def __init__(self, message_id: str, request: MessagesRequest) -> None:
        self._message_id = message_id
        self._model = request.model
        self._silent = request.max_tokens == 0
        self._out: list[MessagesEvent] = []
        self._started = False
        self._open_index: int | None = None
        self._next_index = 0
        self._finish_reason: str | None = None
        self._stop_sequence: str | None = None
        self._usage = Usage()
        self._usage_source = UsageSource.NONE
        self._over = False

    @property
    def usage(self) -> Usage:
        return self._usage

    @property
    def usage_source(self) -> UsageSource:
        return self._usage_source

    def read(self, frame: bytes) -> ChatEvent:
        return read_chunk(frame)

    def feed(self, event: Event[Any]) -> Sequence[MessagesEvent]:
        if event.kind == chunks.CHUNK:
            self._chunk(event.fields)
        elif event.kind == chunks.DONE:
            self._end(self._finish_reason or "stop")
        elif event.kind == chunks.ERROR:
            raise in_stream_refusal(as_object(event.fields.error), self._model)
        return self._take()

    def close(self) -> Sequence[MessagesEvent]:
        if not self._over:
            if self._finish_reason is None:
                raise UpstreamTruncated("The upstream's stream ended before it told why it finished.")
            self._end(self._finish_reason)  # only `[DONE]` is missing: the answer is whole
        return self._take()

    def _take(self) -> Sequence[MessagesEvent]:
        out, self._out = self._out, []
        return out

    # What a chunk holds.

    def _chunk(self, chunk: ChatChunk) -> None:
        if not self._started:
            self._start_message(chunk)
        if chunk.choices:
            choice = chunk.choices[0]
            if choice.delta is not None:
                self._delta(choice.delta)
            if choice.finish_reason is not None:
                self._finish(choice, chunk)
        if chunk.usage is not None:
            self._usage = self._usage.updated(chunk.usage.report())
            self._usage_source = UsageSource.UPSTREAM

    def _delta(self, delta: ChatDelta) -> None:
        if delta.content:
            self._text_delta(delta.content)

    def _finish(self, choice: Choice, chunk: ChatChunk) -> None:
        """Remember why; usage may still follow on a chunk of its own."""
        self._finish_reason = choice.finish_reason
        if isinstance(choice.stop_reason, str):
            self._stop_sequence = choice.stop_reason
        elif chunk.verbose is not None and chunk.verbose.stopping_word:
            self._stop_sequence = chunk.verbose.stopping_word
        self._stop_block()

    # What is emitted.

    def _start_message(self, chunk: ChatChunk) -> None:
        self._started = True
        if progress := chunk.prompt_progress:
            cached = min(progress.cache, progress.total)
            self._usage = Usage(input_tokens=progress.total - cached, cache_read_input_tokens=cached)
            self._usage_source = UsageSource.PARTIAL_UPSTREAM
        self._out.append(events.message_start(blank_message(self._message_id, self._model, self._usage)))

    def _start_text(self) -> int:
        index = self._open_index = self._next_index
        self._next_index += 1
        self._out.append(events.block_start(index, {"type": "text", "text": ""}))
        return index

    def _text_delta(self, text: str) -> None:
        self._count_token()
        if self._silent:
            return
        index = self._open_index if self._open_index is not None else self._start_text()
        self._out.append(events.text_delta(index, text))

    def _stop_block(self) -> None:
        if self._open_index is not None:
            self._out.append(events.block_stop(self._open_index))
            self._open_index = None

    def _end(self, finish_reason: str) -> None:
        if self._over:
            return
        self._over = True
        if not self._started:
            self._start_message(chunks.ChatChunk())
        self._stop_block()
        reason = STOP_REASONS.get(finish_reason, "end_turn")
        stop_sequence = self._stop_sequence if reason == "end_turn" else None
        self._out.append(
            events.message_delta(
                "stop_sequence" if stop_sequence is not None else reason,
                stop_sequence,
                final_usage(self._usage),
            )
        )
        self._out.append(events.message_stop())

    def _count_token(self) -> None:
        """Until the upstream tells its own count, a piece of text is taken for a token: right for most servers."""
        if self._usage_source is not UsageSource.UPSTREAM:
            self._usage = msgspec.structs.replace(self._usage, output_tokens=self._usage.output_tokens + 1)
            self._usage_source = UsageSource.ESTIMATED
