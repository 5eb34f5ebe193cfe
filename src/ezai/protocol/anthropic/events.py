"""Stream events of the Messages dialect: frames to `Event`s, and the ones that the gateway makes itself.

Reading follows what the SDKs do with the same bytes: the newest dispatch on `data.type`, older ones on the event
name, and an event without a name is dropped by both. Source: reference of the Messages API, "Streaming".
"""

from __future__ import annotations

from typing import Any

import msgspec

from ezai.errors import IllegalStream, UpstreamMalformed
from ezai.protocol.event import COMMENT, Event
from ezai.protocol.sse import parse_frame
from ezai.protocol.usage import UsageReport

MESSAGE_START = "message_start"
BLOCK_START = "content_block_start"
BLOCK_DELTA = "content_block_delta"
BLOCK_STOP = "content_block_stop"
MESSAGE_DELTA = "message_delta"
MESSAGE_STOP = "message_stop"
PING = "ping"
ERROR = "error"
UNNAMED = "unnamed"
"""The kind of an event without an `event:` line: no SDK sees it."""

KNOWN = frozenset(
    {
        MESSAGE_START,
        BLOCK_START,
        BLOCK_DELTA,
        BLOCK_STOP,
        MESSAGE_DELTA,
        MESSAGE_STOP,
        PING,
        ERROR,
        "completion",
    }
)
"""The names that the SDKs know; events of other names pass the gateway unread."""


class StartedMessage(msgspec.Struct, frozen=True):
    """What is read of `message_start.message`; both SDKs fail without `content` and `usage`."""

    content: list[msgspec.Raw]
    usage: msgspec.Raw
    id: str = ""
    model: str = ""


class StartedBlock(msgspec.Struct, frozen=True):
    """What is read of `content_block_start.content_block`. UNSET and null differ: null breaks an SDK."""

    type: str
    text: str | msgspec.UnsetType = msgspec.UNSET
    thinking: str | msgspec.UnsetType = msgspec.UNSET


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is read of a `delta`, of a block or of the message."""

    type: str = ""
    text: str | msgspec.UnsetType = msgspec.UNSET
    thinking: str | msgspec.UnsetType = msgspec.UNSET
    partial_json: str | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET
    stop_reason: str | None = None
    stop_sequence: str | None = None


class ErrorFields(msgspec.Struct, frozen=True):
    """What is read of `error`."""

    type: str = "api_error"
    message: str = ""


class StreamFields(msgspec.Struct, frozen=True):
    """Of any event, what the gateway itself reads."""

    type: str = ""
    index: int = -1
    message: StartedMessage | None = None
    content_block: StartedBlock | None = None
    delta: Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: ErrorFields | None = None


MessagesEvent = Event[StreamFields]

decode_fields = msgspec.json.Decoder(StreamFields).decode
_decode_any = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_usage = msgspec.json.Decoder(UsageReport).decode
_encode = msgspec.json.Encoder().encode
_NO_FIELDS = StreamFields()


def read_event(frame: bytes) -> MessagesEvent:
    """Read one frame.

    The kind is `data.type` of a named event, UNNAMED, or COMMENT. Unknown kinds come back unread but with checked
    JSON. Raises `UpstreamMalformed` for invalid UTF-8 or JSON, `IllegalStream` for a known event whose fields have
    types that break an SDK.
    """
    name, data = parse_frame(frame)
    if data is None:
        return Event(COMMENT, _NO_FIELDS, None, frame)
    if not data.isascii():
        _check_utf8(data)
    if not name:
        _check_json(data)
        return Event(UNNAMED, _NO_FIELDS, data, frame)
    try:
        fields = decode_fields(data)
    except msgspec.ValidationError as error:
        return _read_mistyped(name, data, frame, error)
    except (msgspec.DecodeError, RecursionError):
        raise _no_json() from None
    return Event(fields.type or name.decode("utf-8", "replace"), fields, data, frame)


def brings_content(event: MessagesEvent) -> bool:
    """Whether it is a delta with text, thinking or a tool's input in it, as the first token is."""
    delta = event.fields.delta if event.kind == BLOCK_DELTA else None
    return delta is not None and bool(delta.text or delta.thinking or delta.partial_json)


def usage_report(raw: msgspec.Raw) -> UsageReport | None:
    """The usage an event reports; None where it reports none, or counts that are no numbers."""
    try:
        return _decode_usage(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _read_mistyped(name: bytes, data: bytes, frame: bytes, error: msgspec.ValidationError) -> MessagesEvent:
    """An event of an unknown kind may hold anything under the names we read; a known one may not."""
    _check_json(data)
    kind = _kind_of(data) or name.decode("utf-8", "replace")
    if kind in KNOWN:
        raise IllegalStream(f"The upstream sent a {kind} event that breaks the protocol: {error}.") from None
    return Event(kind, _NO_FIELDS, data, frame)


def _kind_of(data: bytes) -> str:
    try:
        kind = msgspec.json.decode(_decode_any(data).get("type", msgspec.Raw(b'""')))
    except msgspec.DecodeError:
        return ""
    return kind if isinstance(kind, str) else ""


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        raise UpstreamMalformed("The upstream sent an event that is not UTF-8.") from None


def _check_json(data: bytes) -> None:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        raise _no_json() from None


def _no_json() -> UpstreamMalformed:
    return UpstreamMalformed("The upstream sent an event whose data is not JSON, or nested too deeply.")


# Events made here: one function each.


def message_start(message: dict[str, Any]) -> MessagesEvent:
    """The first event; `message` as `answers.blank_message` makes it."""
    usage = msgspec.Raw(_encode(message["usage"]))
    fields = StreamFields(MESSAGE_START, message=StartedMessage([], usage, message["id"], message["model"]))
    return Event(MESSAGE_START, fields, _encode({"type": MESSAGE_START, "message": message}))


def block_start(index: int, block: dict[str, Any]) -> MessagesEvent:
    """Open block `index`; `block` is complete as it stands at its start."""
    read = StartedBlock(block["type"], block.get("text", msgspec.UNSET), block.get("thinking", msgspec.UNSET))
    data = _encode({"type": BLOCK_START, "index": index, "content_block": block})
    return Event(BLOCK_START, StreamFields(BLOCK_START, index, content_block=read), data)


def text_delta(index: int, text: str) -> MessagesEvent:
    """More text of block `index`. Hot: one per token, so the constant part is not encoded anew."""
    data = b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%b}}' % (
        index,
        _encode(text),
    )
    return Event(BLOCK_DELTA, StreamFields(BLOCK_DELTA, index, delta=Delta("text_delta", text)), data)


def thinking_delta(index: int, thinking: str) -> MessagesEvent:
    """More thinking of block `index`. Hot, as `text_delta` is."""
    data = b'{"type":"content_block_delta","index":%d,"delta":{"type":"thinking_delta","thinking":%b}}' % (
        index,
        _encode(thinking),
    )
    fields = StreamFields(BLOCK_DELTA, index, delta=Delta("thinking_delta", thinking=thinking))
    return Event(BLOCK_DELTA, fields, data)


def signature_delta(index: int, signature: str) -> MessagesEvent:
    """The signature of thinking block `index`: its last delta."""
    delta = Delta("signature_delta", signature=signature)
    data = _encode({"type": BLOCK_DELTA, "index": index, "delta": delta})
    return Event(BLOCK_DELTA, StreamFields(BLOCK_DELTA, index, delta=delta), data)


def input_json_delta(index: int, partial_json: str) -> MessagesEvent:
    """More of the input of tool block `index`. Hot, as `text_delta` is."""
    data = b'{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":%b}}' % (
        index,
        _encode(partial_json),
    )
    fields = StreamFields(BLOCK_DELTA, index, delta=Delta("input_json_delta", partial_json=partial_json))
    return Event(BLOCK_DELTA, fields, data)


def block_stop(index: int) -> MessagesEvent:
    """Close block `index`."""
    data = b'{"type":"content_block_stop","index":%d}' % index
    return Event(BLOCK_STOP, StreamFields(BLOCK_STOP, index), data)


def message_delta(
    stop_reason: str, stop_sequence: str | None, usage: dict[str, Any], stop_details: dict[str, Any] | None = None
) -> MessagesEvent:
    """The end as the model tells it, with the cumulative usage; a null in `usage` keeps the earlier value."""
    delta = {
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "stop_details": stop_details,
        "container": None,
    }
    fields = StreamFields(
        MESSAGE_DELTA,
        delta=Delta(stop_reason=stop_reason, stop_sequence=stop_sequence),
        usage=msgspec.Raw(_encode(usage)),
    )
    return Event(MESSAGE_DELTA, fields, _encode({"type": MESSAGE_DELTA, "delta": delta, "usage": usage}))


def message_stop() -> MessagesEvent:
    """The last event of a whole answer."""
    return Event(MESSAGE_STOP, StreamFields(MESSAGE_STOP), b'{"type":"message_stop"}')


def ping() -> MessagesEvent:
    """A keep-alive: both SDKs drop it."""
    return Event(PING, StreamFields(PING), b'{"type":"ping"}')
