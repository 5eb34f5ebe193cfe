"""Messages in, Messages out: the identity (contract 2, tap and unary tap).

The request's bytes are untouched unless the model is renamed, the stream's always. What is read on the way is the
order, the usage and the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ezai.errors import RequestError, UpstreamTruncated
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import ErrorFields, MessagesEvent, read_event, usage_report
from ezai.protocol.anthropic.order import INSIDE, StreamState
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.protocol.end import UsageSource
from ezai.protocol.event import Event
from ezai.protocol.members import without
from ezai.protocol.openai.errors import ErrorObject, read_error
from ezai.protocol.usage import Usage, is_count
from ezai.translate.base import ANTHROPIC, Headers, UpstreamFacts, UpstreamRequest
from ezai.translate.credentials import cut_from_bytes, cut_from_text, fields_without
from ezai.translate.crossing import to_client, to_upstream
from ezai.translate.own_thinking import has_own_thinking, without_own_thinking
from ezai.translate.refusals import status_of_type, told
from ezai.translate.terms import AnswerTerms

_JSON = ((b"accept", b"application/json"), (b"content-type", b"application/json"))


_BYTES_A_TOKEN = 4

_NAMED_DELTA = b"event: content_block_delta\ndata: "
_LF, _CR = b"\n\r"


class _ErrorBody(msgspec.Struct, frozen=True):
    type: str
    error: ErrorFields


class AnthropicToAnthropic:
    """The pair for one target and one client; `model` None keeps the name that was asked for."""

    def __init__(
        self, model: str | None = None, facts: UpstreamFacts = ANTHROPIC, client_headers: Headers = ()
    ) -> None:
        self._model = model
        self._facts = facts
        self._client_headers = client_headers

    def rewrites(self, request: MessagesRequest) -> bool:
        return self._renames(request) or bool(self._facts.strip_fields) or has_own_thinking(request.body)

    def request(self, request: MessagesRequest) -> UpstreamRequest:
        return UpstreamRequest("POST", f"/v1/messages{_query(request)}", self._crossing(), self._body(request))

    def count_request(self, request: MessagesRequest) -> UpstreamRequest:
        path = f"/v1/messages/count_tokens{_query(request)}"
        return UpstreamRequest("POST", path, self._crossing(), self._body(request))

    def estimate_tokens(self, request: MessagesRequest) -> int:
        return max(1, len(request.body) // _BYTES_A_TOKEN)

    def stream(self, message_id: str, request: MessagesRequest, terms: AnswerTerms) -> MessagesTap:
        return MessagesTap(self._facts.credentials)

    def refusal(self, status: int, headers: Headers, body: bytes, requested_model: str) -> RequestError:
        """An Anthropic-shaped error passes with its body, one of another shape with its sentence; 401 and 403 are the
        gateway's own trouble.
        """
        body = cut_from_bytes(body, self._facts.credentials)
        try:
            error = msgspec.json.decode(body, type=_ErrorBody).error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            other = read_error(body) or ErrorObject()
            return told(status, other.message or f"The upstream answered with status {status}.", error=other)
        said = ErrorObject(error.message, error.type)
        if status in {401, 403}:
            refused = "The upstream refused the gateway's own credential; the operator has to mend it."
            return told(status, refused, error=said)
        refusal = told(status, error.message, body=body, error=said)
        refusal.refused_status, refusal.refused_type = status, error.type
        return refusal

    def answer_headers(self, headers: Headers) -> Headers:
        return fields_without(to_client(headers), self._facts.credentials)

    def _crossing(self) -> Headers:
        return (*_JSON, *to_upstream(self._client_headers, self._facts.strip_betas))

    def _renames(self, request: MessagesRequest) -> bool:
        return self._model is not None and self._model != request.model

    def _body(self, request: MessagesRequest) -> bytes:
        """The client's own bytes, less what the upstream has to be spared, under the name the upstream knows."""
        if has_own_thinking(request.body):
            request = MessagesRequest(without_own_thinking(request), request.facts)
        body = request.with_value("model", self._model) if self._renames(request) else request.body
        for path in self._facts.strip_fields:
            body = without(body, path)
        return body


def _query(request: MessagesRequest) -> str:
    return "?beta=true" if request.beta else ""


class MessagesTap:
    """Hands each event back as it is, and reads usage and end from it.

    Until the upstream tells its final count, a delta is taken for a token: what was relayed is never recorded as less.
    """

    __slots__ = ("_credentials", "_deltas", "_over", "_usage", "_usage_source")

    told_end = False
    cut_short = False

    def __init__(self, credentials: Sequence[str] = ()) -> None:
        self._credentials = credentials
        self._deltas = 0
        self._usage = Usage()
        self._usage_source = UsageSource.NONE
        self._over = False

    @property
    def usage(self) -> Usage:
        return msgspec.structs.replace(self._usage, output_tokens=self._deltas) if self._is_counted else self._usage

    @property
    def usage_source(self) -> UsageSource:
        return UsageSource.ESTIMATED if self._is_counted else self._usage_source

    @property
    def _is_counted(self) -> bool:
        return self._usage_source is not UsageSource.UPSTREAM and self._deltas > self._usage.output_tokens

    read = staticmethod(read_event)

    def feed_plain(self, chunk: bytes, state: StreamState) -> bool:
        """See `StreamTranslator`. One step of Python for nearly every event, where four would read it."""
        if (
            not chunk.startswith(_NAMED_DELTA)
            or chunk.find(b"\n", len(_NAMED_DELTA)) != len(chunk) - 2
            or chunk[-1] != _LF
            or _CR in chunk
        ):
            return False
        try:
            if not chunk.isascii():
                chunk.decode()
            fields = events.decode_fields(chunk[len(_NAMED_DELTA) : -2])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        delta = fields.delta
        if delta is None or fields.type != events.BLOCK_DELTA:
            return False
        if fields.index != state.block_index or state.place is not INSIDE:
            return False
        match delta.type:
            case "text_delta":
                more = delta.text
            case "input_json_delta":
                more = delta.partial_json
            case "thinking_delta":
                more = delta.thinking
            case _:
                return False
        if more is msgspec.UNSET:
            return False
        self._deltas += 1
        return True

    def feed(self, event: Event[Any]) -> tuple[MessagesEvent]:
        if event.kind == events.BLOCK_DELTA:  # hot: nearly every event
            self._deltas += 1
        elif step := _STEPS.get(event.kind):
            step(self, event)
        return (event,)

    def close(self) -> tuple[()]:
        if not self._over:
            raise UpstreamTruncated("The upstream's stream ended before message_stop.")
        return ()

    def _message_start(self, event: MessagesEvent) -> None:
        if event.fields.message is not None:
            self._usage = self._usage.updated(usage_report(event.fields.message.usage))
            self._usage_source = UsageSource.PARTIAL_UPSTREAM

    def _message_delta(self, event: MessagesEvent) -> None:
        report = usage_report(event.fields.usage)
        self._usage = self._usage.updated(report)
        if report is not None and is_count(report.output_tokens):
            self._usage_source = UsageSource.UPSTREAM

    def _message_stop(self, _event: MessagesEvent) -> None:
        self._over = True

    def _error(self, event: MessagesEvent) -> None:
        said = event.fields.error or ErrorFields()
        error = ErrorFields(*(cut_from_text(text, self._credentials) for text in (said.type, said.message)))
        refusal = told(
            status_of_type(error.type),
            error.message,
            in_stream=True,
            error=ErrorObject(error.message, error.type),
        )
        if error.type not in {"authentication_error", "permission_error"}:
            refusal.refused_type = error.type
        raise refusal


_STEPS = {
    events.MESSAGE_START: MessagesTap._message_start,
    events.MESSAGE_DELTA: MessagesTap._message_delta,
    events.MESSAGE_STOP: MessagesTap._message_stop,
    events.ERROR: MessagesTap._error,
}
