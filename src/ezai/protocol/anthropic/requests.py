"""The request body of the Messages dialect.

Two depths. `read_request` decodes the outermost object alone and checks what the gateway itself needs: everything
else stays the bytes the client sent (contract 8). `MessagesRequest.conversation` decodes the rest for a translator.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ezai.errors import InvalidRequest
from ezai.protocol.validation import Kind, read_problem

MAX_MESSAGES = 100_000  # the hosted API's own limit

Count = Annotated[int, msgspec.Meta(ge=0)]

_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = msgspec.Raw(b"null")


class TextBlock(msgspec.Struct, frozen=True, tag="text"):
    """A text block; cache_control and citations mean nothing to a translated upstream and are passed over."""

    text: str


class MessageParam(msgspec.Struct, frozen=True):
    """One turn, or a system message in the middle of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[TextBlock]


class Conversation(msgspec.Struct, frozen=True):
    """What a translator reads of a request. Unknown fields are ignored; nulls are absent."""

    messages: list[MessageParam]
    system: str | list[TextBlock] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Count | None = None


class MessagesRequest:
    """A request whose outermost object was read and checked; `body` is what the client sent, untouched."""

    __slots__ = ("body", "max_tokens", "members", "model", "streamed")

    def __init__(
        self, body: bytes, members: dict[str, msgspec.Raw], model: str, max_tokens: int, streamed: bool
    ) -> None:
        self.body = body
        self.members = members
        self.model = model
        self.max_tokens = max_tokens
        self.streamed = streamed

    def with_value(self, name: str, value: object) -> bytes:
        """The body with one member replaced; every other value stays byte-identical."""
        return _encode({**self.members, name: msgspec.Raw(_encode(value))})

    def conversation(self) -> Conversation:
        """Decode what a translator needs. Raises `InvalidRequest` that names the field."""
        conversation: Conversation = _decode(self.body, Conversation)
        return conversation


def read_request(body: bytes) -> MessagesRequest:
    """Read the body of `POST /v1/messages`.

    Raises `InvalidRequest`, its message starting with the field, for invalid UTF-8 or JSON, a missing or mistyped
    model, max_tokens, messages or stream, no message at all or more than MAX_MESSAGES.
    """
    members = _read_members(body)
    request = _read_common(body, members)
    request.max_tokens = _member(members, "max_tokens", int)
    if request.max_tokens < 0:
        raise InvalidRequest(f"max_tokens: must not be negative, got {request.max_tokens}")
    request.streamed = members.get("stream", _NULL) != _NULL and _member(members, "stream", bool)
    return request


def read_count_request(body: bytes) -> MessagesRequest:
    """Read the body of `POST /v1/messages/count_tokens`: the same, where max_tokens and stream have no place."""
    return _read_common(body, _read_members(body))


def _read_members(body: bytes) -> dict[str, msgspec.Raw]:
    if not body:
        raise InvalidRequest("The request body is empty; send a JSON object.")
    try:
        # msgspec does not check UTF-8 inside Raw; a body is checked once, here.
        if not body.isascii():
            body.decode()
        return _decode_members(body)
    except UnicodeDecodeError:
        raise InvalidRequest("The request body is not valid UTF-8.") from None
    except msgspec.ValidationError:
        raise InvalidRequest("The request body is not a JSON object.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequest("The request body is nested too deeply.") from None


def _read_common(body: bytes, members: dict[str, msgspec.Raw]) -> MessagesRequest:
    model: str = _member(members, "model", str)
    if not model:
        raise InvalidRequest("model: must not be empty")
    messages: list[msgspec.Raw] = _member(members, "messages", list[msgspec.Raw])
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"messages: at most {MAX_MESSAGES} messages are allowed, got {len(messages)}")
    return MessagesRequest(body, members, model, 0, False)


def _member(members: dict[str, msgspec.Raw], name: str, kind: Any) -> Any:
    if name not in members:
        raise InvalidRequest(f"{name}: Field required")
    return _decode(members[name], kind, name)


def _decode(raw: bytes | msgspec.Raw, kind: Any, name: str = "") -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest(_in_our_words(str(error), name)) from None
    except RecursionError:
        raise InvalidRequest(f"{name or 'messages'}: nested too deeply") from None


def _in_our_words(error: str, name: str) -> str:
    """The sentence of the hosted API, the field in front: "messages.0.role: ..."."""
    problem = read_problem(error)
    place = ".".join(part for part in (name, problem.path) if part)
    text = "Field required" if problem.kind is Kind.MISSING else problem.text
    return f"{place}: {text}" if place else text
