"""One event of a stream (contract 1)."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from ezai.protocol.sse import encode_frame

FieldsT = TypeVar("FieldsT")

COMMENT = "comment"
"""The kind of a frame without data: a keep-alive comment or a stray blank line."""

_decode = msgspec.json.Decoder().decode


class Event(msgspec.Struct, Generic[FieldsT], eq=False):
    """A stream event: its `kind`, `raw` bytes as they came, or None for one made here; decoded when asked.

    A stream runs as a tap when its translator hands back the same object, as a transform when it hands back others.
    `fields` are those that the gateway itself reads (order, usage, end), decoded with the event; `payload` is the
    whole of it, decoded at the first look. `data` is the JSON text, None for a comment.
    """

    kind: str
    fields: FieldsT
    data: bytes | None
    raw: bytes | None = None
    _payload: Any = None

    @property
    def payload(self) -> Any:
        """The decoded JSON of `data`; None for a comment. The same object at each look: copy before changing it."""
        if self._payload is None and self.data is not None:
            self._payload = _decode(self.data)
        return self._payload

    def wire(self) -> bytes:
        """The frame to send: the untouched bytes where there are any."""
        if self.raw is not None:
            return self.raw
        assert self.data is not None, "an event made here has data"
        return encode_frame(self.kind.encode(), self.data)

    def __repr__(self) -> str:
        return f"Event({self.kind!r}, {self.data!r})"
