"""A stream folded into the message it tells: one path for unary answers, the ledger and recordings.

It does what the accumulators of the SDKs do with the same events, so that `fold(stream)` equals the unary answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ezai.errors import IllegalStream, UpstreamTruncated
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.json_prefix import JsonPrefix, NotAnObject, completed


class Fold:
    """Accumulates the events of one legal stream; `message` is what they have told so far."""

    def __init__(self) -> None:
        self.message: dict[str, Any] | None = None
        self._whole = False
        self._open: dict[str, Any] = {}
        self._parts: list[str] = []
        self._steps: dict[str, Callable[[dict[str, Any]], None]] = {
            events.MESSAGE_START: self._message_start,
            events.BLOCK_START: self._block_start,
            events.BLOCK_DELTA: self._block_delta,
            events.BLOCK_STOP: self._block_stop,
            events.MESSAGE_DELTA: self._message_delta,
            events.MESSAGE_STOP: self._message_stop,
        }

    def feed(self, event: MessagesEvent) -> None:
        """Take one more event, of a stream whose order `StreamState` has checked; other kinds change nothing.

        A tool's input that was cut off is what its pieces tell, as the SDKs show it. Raises `IllegalStream` when they
        do not join to JSON.
        """
        if step := self._steps.get(event.kind):
            step(event.payload)

    def result(self) -> dict[str, Any]:
        """The whole message. Raises `UpstreamTruncated` when the stream has not told its end."""
        if self.message is None or not self._whole:
            raise UpstreamTruncated("The upstream's answer ended before it was whole.")
        return self.message

    def _message_start(self, payload: dict[str, Any]) -> None:
        # Copied as deep as it is changed: the payload belongs to the event.
        self.message = {**payload["message"], "content": [], "usage": dict(payload["message"]["usage"])}

    def _block_start(self, payload: dict[str, Any]) -> None:
        self._open = dict(payload["content_block"])
        self._parts = []
        assert self.message is not None
        self.message["content"].append(self._open)

    def _block_delta(self, payload: dict[str, Any]) -> None:
        delta = payload["delta"]
        if step := _DELTA_STEPS.get(delta["type"]):
            step(self, delta)

    def _text(self, delta: dict[str, Any]) -> None:
        self._parts.append(delta["text"])

    def _thinking(self, delta: dict[str, Any]) -> None:
        self._parts.append(delta["thinking"])

    def _input_json(self, delta: dict[str, Any]) -> None:
        self._parts.append(delta["partial_json"])

    def _signature(self, delta: dict[str, Any]) -> None:
        self._open["signature"] = delta["signature"]

    def _citation(self, delta: dict[str, Any]) -> None:
        self._open["citations"] = [*(self._open.get("citations") or []), delta["citation"]]

    def _block_stop(self, _payload: dict[str, Any]) -> None:
        joined = "".join(self._parts)
        if not joined:
            return
        if self._open["type"] in {"text", "thinking"}:
            self._open[self._open["type"]] += joined
        else:
            self._open["input"] = _parsed(joined)

    def _message_delta(self, payload: dict[str, Any]) -> None:
        assert self.message is not None
        self.message.update(payload["delta"])
        for name, count in payload["usage"].items():
            if count is not None or name not in self.message["usage"]:
                self.message["usage"][name] = count

    def _message_stop(self, _payload: dict[str, Any]) -> None:
        self._whole = True


_DELTA_STEPS: dict[str, Callable[[Fold, dict[str, Any]], None]] = {
    "text_delta": Fold._text,
    "thinking_delta": Fold._thinking,
    "input_json_delta": Fold._input_json,
    "signature_delta": Fold._signature,
    "citations_delta": Fold._citation,
}


def fold(stream: Iterable[MessagesEvent]) -> dict[str, Any]:
    """The message that a whole legal stream tells. Raises as `Fold` does."""
    folding = Fold()
    for event in stream:
        folding.feed(event)
    return folding.result()


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _cut_off(text)


def _cut_off(text: str) -> Any:
    try:
        JsonPrefix().feed(text)
        return msgspec.json.decode(completed(text))
    except (NotAnObject, msgspec.DecodeError):
        raise IllegalStream("The pieces of a tool's input do not join to JSON.") from None
