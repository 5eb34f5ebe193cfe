"""The request body of the Messages dialect.

Two depths. `read_request` decodes the outermost object alone and checks what the gateway itself needs: everything
else stays the bytes the client sent (contract 8). `MessagesRequest.conversation` decodes the rest for a translator.
Both take time in proportion to the body, so where it is large they are called in another process: a request can be
sent there, and comes back as its `Facts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.conversation import Conversation
from ezai.protocol.members import repeated_name
from ezai.protocol.validation import Kind, read_problem

T = TypeVar("T")

MAX_MESSAGES = 100_000  # the hosted API's own limit
MAX_MEMBERS = 1000  # of the outermost object: the API has some thirty, and each takes a moment to look at
_SHOWN = 64  # characters of a name that may be anything
LARGE_BYTES = 1024 * 1024
MANY_OBJECTS = 3000

_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_number = msgspec.json.Decoder(int).decode
_decode_switch = msgspec.json.Decoder(bool).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_conversation = msgspec.json.Decoder(Conversation).decode
_NULL = msgspec.Raw(b"null")
_HIGH, _LOW = rb"u[dD][89abAB]..", rb"u[dD][c-fC-F].."
_escapes = re.compile(rb"\\(?:" + _HIGH + rb"\\" + _LOW + rb"|u(?P<half>[dD][89a-fA-F]..)|.)", re.DOTALL).finditer


class Facts(NamedTuple):
    """What the gateway itself needs of a request."""

    model: str
    max_tokens: int
    streamed: bool
    names: frozenset[str]
    """Of the members of the outermost object."""


class MessagesRequest:
    """A request whose outermost object was read and checked; `body` is what the client sent, untouched."""

    __slots__ = ("_members", "beta", "body", "facts", "max_tokens", "model", "streamed")

    def __init__(
        self, body: bytes, facts: Facts, members: dict[str, msgspec.Raw] | None = None, *, beta: bool = False
    ) -> None:
        self.body = body
        self.facts = facts
        self.beta = beta
        """Whether it was asked for with `?beta=true`, as the beta namespaces of the SDKs and Claude Code do."""
        self.model, self.max_tokens, self.streamed, _ = facts
        self._members = members

    def __reduce__(self) -> tuple[Callable[..., MessagesRequest], tuple[bytes, Facts, bool]]:
        """For another process: without the decoded members, which are the body once more."""
        return _made, (self.body, self.facts, self.beta)

    @property
    def is_large(self) -> bool:
        """Whether translating it would hold up the streams of the process that does; see `is_large`."""
        return is_large(self.body)

    @property
    def members(self) -> dict[str, msgspec.Raw]:
        """The outermost object, each value as the client wrote it."""
        if self._members is None:
            self._members = _decode_members(self.body)
        return self._members

    def with_value(self, name: str, value: object) -> bytes:
        """The body with one member replaced; every other value stays byte-identical."""
        return _encode({**self.members, name: msgspec.Raw(_encode(value))})

    def conversation(self) -> Conversation:
        """Decode what a translator needs. Raises `InvalidRequest` that names the field."""
        try:
            return _decode_conversation(self.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _refusal(error) from None


def _made(body: bytes, facts: Facts, beta: bool) -> MessagesRequest:
    return MessagesRequest(body, facts, beta=beta)


def wants_beta(query: bytes) -> bool:
    """Whether a query string asks for the beta interface."""
    return b"beta=true" in query.split(b"&")


def is_large(body: bytes) -> bool:
    """Whether a body is better read in another process: reading and translating any other takes 25 ms at most.

    A MiB of text takes about 10 ms, and a message or block 5 us whatever its text. Braces in the text count as well;
    then a body is taken for dearer than it is, which does no harm.
    """
    return len(body) > LARGE_BYTES or (len(body) > 16 * MANY_OBJECTS and body.count(b"{") > MANY_OBJECTS)


def read_request(body: bytes) -> MessagesRequest:
    """Read the body of `POST /v1/messages`.

    Raises `InvalidRequest`, its message starting with the field, for invalid UTF-8 or JSON, a name that two members
    have, a missing or mistyped model, max_tokens, messages or stream, no message at all or more than MAX_MESSAGES.
    """
    members = _read_members(body)
    model = _read_model(members)
    max_tokens = _member(members, "max_tokens", _decode_number)
    if max_tokens < 0:
        raise InvalidRequest(f"max_tokens: must not be negative, got {max_tokens}")
    streamed = members.get("stream", _NULL) != _NULL and _member(members, "stream", _decode_switch)
    return MessagesRequest(body, Facts(model, max_tokens, streamed, frozenset(members)), members)


def read_count_request(body: bytes) -> MessagesRequest:
    """Read the body of `POST /v1/messages/count_tokens`: the same, where max_tokens and stream have no place."""
    members = _read_members(body)
    return MessagesRequest(body, Facts(_read_model(members), 0, False, frozenset(members)), members)


Read = Callable[[bytes], MessagesRequest]
"""`read_request` or `read_count_request`."""


def read_facts(read: Read, body: bytes) -> Facts:
    """`read` in another process: the body does not have to come back. Raises as `read` does."""
    return read(body).facts


def _read_members(body: bytes) -> dict[str, msgspec.Raw]:
    if not body:
        raise InvalidRequest("The request body is empty; send a JSON object.")
    try:
        # msgspec does not check UTF-8 inside Raw; a body is checked once, here.
        if not body.isascii():
            body.decode()
        members = _decode_members(body)
    except UnicodeDecodeError:
        raise InvalidRequest("The request body is not valid UTF-8.") from None
    except msgspec.ValidationError:
        raise InvalidRequest("The request body is not a JSON object.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The request body is not valid JSON: {_half_in(body) or error}.") from None
    except RecursionError:
        raise InvalidRequest("The request body is nested too deeply.") from None
    _check_members(body, members)
    return members


def _check_members(body: bytes, members: dict[str, msgspec.Raw]) -> None:
    if len(members) > MAX_MEMBERS:
        raise InvalidRequest(f"The request body has {len(members)} members; at most {MAX_MEMBERS} are allowed.")
    if (name := repeated_name(body, members)) is not None:
        raise InvalidRequest(f"{name[:_SHOWN]}: given twice, and readers differ in which of them counts; give it once.")


def _half_in(body: bytes) -> str:
    """What is wrong with the first character of which the body holds one half alone; empty where there is none."""
    for escape in _escapes(body):
        if escape["half"]:
            half = escape["half"].decode("ascii", "replace")
            return f"\\u{half} at byte {escape.start()} is half of a character, without its other half"
    return ""


def _read_model(members: dict[str, msgspec.Raw]) -> str:
    """The model, once it and the messages are found to be what they must."""
    model = _member(members, "model", _decode_text)
    if not model:
        raise InvalidRequest("model: must not be empty")
    messages = _member(members, "messages", _decode_list)
    if not messages:
        raise InvalidRequest("messages: at least one message is required")
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"messages: at most {MAX_MESSAGES} messages are allowed, got {len(messages)}")
    return model


def _member(members: dict[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], T]) -> T:
    if name not in members:
        raise InvalidRequest(f"{name}: Field required")
    try:
        return decode(members[name])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(error, name) from None


def _refusal(error: msgspec.DecodeError | RecursionError, name: str = "") -> InvalidRequest:
    if isinstance(error, RecursionError):
        return InvalidRequest(f"{name or 'messages'}: nested too deeply")
    return InvalidRequest(_in_our_words(str(error), name))


def _in_our_words(error: str, name: str) -> str:
    """The sentence of the hosted API, the field in front: "messages.0.role: ..."."""
    problem = read_problem(error)
    place = ".".join(part for part in (name, problem.path) if part)
    text = "Field required" if problem.kind is Kind.MISSING else problem.text
    return f"{place}: {text}" if place else text
