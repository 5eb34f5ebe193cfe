"""What only servers of the Chat Completions dialect do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ezai.lab.mock import wire
from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults.placing import after, each
from ezai.lab.mock.reply import Frame, Items
from ezai.lab.mock.values import Where


def finish_null(items: Items, _on: bool, _asked: Asked) -> Items:
    """No chunk says why the answer ended."""
    return _each_choice(items, lambda choice: {**choice, "finish_reason": None})


def role_repeats(items: Items, _on: bool, _asked: Asked) -> Items:
    """Every chunk says the role again."""
    return _each_choice(items, lambda choice: {**choice, "delta": {"role": "assistant", **(choice.get("delta") or {})}})


def empty_choices(items: Items, where: Where, _asked: Asked) -> Items:
    """One chunk more, without any choice."""
    return after(items, where, Frame(b'data: {"object":"chat.completion.chunk","choices":[]}\n\n', "empty"))


def tool_index(items: Items, kind: str, _asked: Asked) -> Items:
    """The pieces of a tool call do not say which call they are of, or all say the first."""

    def changed(call: dict[str, Any]) -> dict[str, Any]:
        without = {name: value for name, value in call.items() if name != "index"}
        return without if kind == "missing" else {"index": 0, **without}

    return _each_choice(items, lambda choice: _with_calls(choice, changed))


def _with_calls(choice: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    delta = choice.get("delta") or {}
    if "tool_calls" not in delta:
        return choice
    return {**choice, "delta": {**delta, "tool_calls": [change(call) for call in delta["tool_calls"]]}}


def _each_choice(items: Items, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Items:
    def of_payload(payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "choices": [change(choice) for choice in payload["choices"]]}

    def of_frame(frame: Frame) -> Frame:
        return wire.changed(frame, lambda payload: of_payload(payload) if payload.get("choices") else payload)

    return each(items, of_frame)
