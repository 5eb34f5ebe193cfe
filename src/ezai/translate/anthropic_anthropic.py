"""Messages in, Messages out: the identity (contract 2, tap and unary tap).

The request's bytes are untouched unless the model is renamed, the stream's always. What is read on the way is the
order, the usage and the end.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ezai.errors import RequestError, UpstreamTruncated
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import ErrorFields, MessagesEvent, read_event, usage_report
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.protocol.end import UsageSource
from ezai.protocol.event import Event
from ezai.protocol.members import without
from ezai.protocol.openai.errors import ErrorObject
from ezai.protocol.usage import Usage
from ezai.translate.base import ANTHROPIC, Headers, UpstreamFacts, UpstreamRequest
from ezai.translate.crossing import to_client, to_upstream
from ezai.translate.refusals import status_of_type, told

_JSON = ((b"accept", b"application/json"), (b"content-type", b"application/json"))


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

    def request(self, request: MessagesRequest) -> UpstreamRequest:
        return UpstreamRequest("POST", "/v1/messages", self._crossing(), self._body(request))

    def count_request(self, request: MessagesRequest) -> UpstreamRequest:
        return UpstreamRequest("POST", "/v1/messages/count_tokens", self._crossing(), self._body(request))

    def stream(self, message_id: str, request: MessagesRequest) -> MessagesTap:
        return MessagesTap()

    def refusal(self, status: int, headers: Headers, body: bytes, requested_model: str) -> RequestError:
        """An Anthropic-shaped error passes with its body; 401 and 403 are the gateway's own trouble."""
        try:
            error = msgspec.json.decode(body, type=_ErrorBody).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            return told(status, f"The upstream answered with status {status}.")
        if status in {401, 403}:
            return told(status, "The upstream refused the gateway's own credential; the operator has to mend it.")
        refusal = told(status, error.message, body=body)
        refusal.refused_status, refusal.refused_type = status, error.type
        return refusal

    def answer_headers(self, headers: Headers) -> Headers:
        return to_client(headers)

    def _crossing(self) -> Headers:
        return (*_JSON, *to_upstream(self._client_headers, self._facts.strip_betas))

    def _body(self, request: MessagesRequest) -> bytes:
        """The client's own bytes, less what the upstream has to be spared, under the name the upstream knows."""
        renamed = self._model is not None and self._model != request.model
        body = request.with_value("model", self._model) if renamed else request.body
        for path in self._facts.strip_fields:
            body = without(body, path)
        return body


class MessagesTap:
    """Hands each event back as it is, and reads usage and end from it."""

    __slots__ = ("_over", "_usage", "_usage_source")

    def __init__(self) -> None:
        self._usage = Usage()
        self._usage_source = UsageSource.NONE
        self._over = False

    @property
    def usage(self) -> Usage:
        return self._usage

    @property
    def usage_source(self) -> UsageSource:
        return self._usage_source

    def read(self, frame: bytes) -> MessagesEvent:
        return read_event(frame)

    def feed(self, event: Event[Any]) -> tuple[MessagesEvent]:
        kind = event.kind
        if kind != events.BLOCK_DELTA and (step := _STEPS.get(kind)):
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
        self._usage = self._usage.updated(usage_report(event.fields.usage))
        self._usage_source = UsageSource.UPSTREAM

    def _message_stop(self, _event: MessagesEvent) -> None:
        self._over = True

    def _error(self, event: MessagesEvent) -> None:
        error = event.fields.error or ErrorFields()
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
