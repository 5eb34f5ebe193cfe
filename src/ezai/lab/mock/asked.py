"""A request, as far as answers depend on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ezai.lab.mock.behaviour import Behaviour
    from ezai.lab.mock.wire import Wire

Headers = list[tuple[bytes, bytes]]

_MARK = re.compile(rb"\[stream ([A-Za-z0-9_-]{1,32})\]")


class Refused(Exception):
    """The request itself is wrong. `str()` is the message of the 400."""


@dataclass(slots=True)
class HttpRequest:
    """A whole request as it came in."""

    method: str
    target: str
    headers: Headers
    body: bytes
    keeps_connection: bool = True
    """Whether its sender wants to send another."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: bytes) -> bytes | None:
        """The first header of this lower-case name."""
        return next((value for field, value in self.headers if field == name), None)


class _Tool(msgspec.Struct, frozen=True):
    name: str = ""
    function: dict[str, Any] | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class Body(msgspec.Struct, frozen=True):
    """What is read of a request's body, of either dialect. Lenient: other fields may hold anything."""

    model: str = ""
    messages: list[msgspec.Raw] | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None


_decode = msgspec.json.Decoder(Body).decode


def read_body(body: bytes) -> Body:
    """Raises `Refused` for what is not a JSON object, or holds a field of the wrong type."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(f"The request body was not understood: {error}") from None


@dataclass(slots=True)
class Asked:
    """A request together with how it is to be answered."""

    request: HttpRequest
    body: Body
    number: int
    """Which request of this mock it is; ids are made of it."""
    wire: Wire
    behaviour: Behaviour

    @property
    def request_id(self) -> str:
        """Sent as `request-id`, and the journal's name of it."""
        return f"req_mock_{self.number}"

    @property
    def mark(self) -> str:
        """What the words of the text begin with: the last `[stream NAME]` in the request gives `NAME.`, else empty.

        So a client can tell its own stream from anybody else's.
        """
        found = _MARK.findall(self.request.body)
        return f"{found[-1].decode()}." if found else ""

    @property
    def token_limit(self) -> int | None:
        """The most tokens that the client wants."""
        return self.body.max_completion_tokens or self.body.max_tokens

    @property
    def tool_name(self) -> str:
        """The tool to call."""
        if self.behaviour.tool_name:
            return self.behaviour.tool_name
        for tool in self.body.tools or ():
            if name := tool.name or (tool.function or {}).get("name"):
                return str(name)
        return "lookup"

    @property
    def input_tokens(self) -> int:
        """What the prompt is said to have cost."""
        return self.behaviour.input_tokens or max(1, len(self.request.body) // 4)
