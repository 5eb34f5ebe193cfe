"""The client tools that the hosted API defines by their type: what its models know of them, written out for others.

The client runs them, so the names of fields are those that it reads. Source: the hosted API's pages on each tool.
"""

from __future__ import annotations

from typing import Any

_STRING: dict[str, Any] = {"type": "string"}
_INTEGER: dict[str, Any] = {"type": "integer"}
_LINES: dict[str, Any] = {
    "type": "array",
    "items": _INTEGER,
    "description": "First and last line, from 1; -1: the end.",
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _command(*commands: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(commands)}


_EDITING: dict[str, Any] = {
    "path": _STRING,
    "file_text": _STRING,
    "old_str": _STRING,
    "new_str": _STRING,
    "insert_line": _INTEGER,
    "insert_text": _STRING,
    "view_range": _LINES,
}
_COMMANDS = ("view", "create", "str_replace", "insert")

BUILT_IN: dict[str, tuple[str, dict[str, Any]]] = {
    "bash": (
        "Run a command in a bash session that lasts; `restart` starts the session anew.",
        _object([], command=_STRING, restart={"type": "boolean"}),
    ),
    "text_editor": (
        "View, create and edit text files. `str_replace` needs text that occurs once; `insert` goes behind a line.",
        _object(["command", "path"], command=_command(*_COMMANDS), **_EDITING),
    ),
    "memory": (
        "Keep notes between conversations, as files under /memories.",
        _object(
            ["command"],
            command=_command(*_COMMANDS, "delete", "rename"),
            **_EDITING,
            old_path=_STRING,
            new_path=_STRING,
        ),
    ),
}
"""Type without its date: description and schema."""
