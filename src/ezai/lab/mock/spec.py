"""The readable form of a behaviour, and the table of all that can stand in it.

    tokens=50,rate=100,stall_after=3

Settings are joined by commas; a flag stands alone; a value that holds a comma, a percent sign or a line end writes it
as %2C, %25, %0A. As a model name it stands behind `mock-`, as a header under `x-mock`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ezai.errors import ConfigurationError
from ezai.lab.mock.behaviour import Behaviour, Setting, settings
from ezai.lab.mock.faults.table import FAULTS
from ezai.lab.mock.reply import BODY, HEAD, TAIL
from ezai.lab.mock.values import FLAG, At, Where
from ezai.lab.mock.wire_anthropic import ANTHROPIC
from ezai.lab.mock.wire_openai import OPENAI

MODEL_PREFIX = "mock-"
HEADER = b"x-mock"

_SETTINGS = settings()
_KINDS = (*ANTHROPIC.kinds, *OPENAI.kinds, HEAD, BODY)


def behaviour(written: str = "", /, **given: object) -> Behaviour:
    """A behaviour from its readable form, from settings by name, or both: `behaviour("tokens=5", stall_after=3)`.

    Raises `ConfigurationError` for an unknown name or a bad value.
    """
    return build({**_parsed(written), **given}, "the behaviour")


def parse(written: str, where: str, prefix: str = "") -> Behaviour:
    """A behaviour from its readable form; `where` and `prefix` say in errors where it stood.

    Raises `ConfigurationError`.
    """
    return build(_parsed(written), where, prefix)


@lru_cache(maxsize=1024)
def parse_remote(written: str, where: str) -> Behaviour:
    """A behaviour that a request asks for: the same, less the settings that are not its to make.

    Kept, since every request of a load asks for the same. Raises `ConfigurationError`.
    """
    return build(_parsed(written), where, is_remote=True)


def build(given: Mapping[str, object], where: str, prefix: str = "", *, is_remote: bool = False) -> Behaviour:
    """A behaviour from settings by name; `prefix` goes before their names in errors.

    `is_remote` refuses settings that are not a request's to make. Raises `ConfigurationError`.
    """
    fields: dict[str, Any] = {}
    faults: dict[str, Any] = {}
    for name, value in given.items():
        if name in _SETTINGS:
            setting = _SETTINGS[name][0]
            _check_local(setting, name, where, prefix, is_remote=is_remote)
            fields[name] = _read(setting.reader, value, where, f"{prefix}{name}")
        elif name in FAULTS:
            faults[name] = _read(FAULTS[name].reader, value, where, f"{prefix}{name}")
        else:
            raise ConfigurationError(where, f"{prefix}{name}", "there is no such setting", _suggestion(name))
    for name, value in faults.items():
        _check_place(value, fields.get("recording", b""), where, f"{prefix}{name}")
    chosen = tuple((name, faults[name]) for name in FAULTS if name in faults and faults[name] is not False)
    return Behaviour(**fields, faults=chosen, written=_written(given))


def table() -> str:
    """Every setting and every fault as Markdown, as they stand in docs/mock.md."""
    lines = ["| Setting | Value | Default | Meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {setting.reader.form} | {_shown(default)} | {setting.meaning} |"
        for name, (setting, default) in _SETTINGS.items()
    ]
    lines += ["", "| Fault | Value | Rows | Meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.reader.form} | {row.rows} | {row.meaning} |" for row in FAULTS.values()]
    return "\n".join(lines) + "\n"


def _parsed(written: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for part in written.split(","):
        name, equals, value = part.strip().partition("=")
        if name or equals:
            found[name.strip()] = unquote(value)
    return found


def _read(reader: Any, value: object, where: str, key: str) -> Any:
    if isinstance(value, bytes) or (isinstance(value, bool) and reader is FLAG):
        return value
    try:
        return reader.read(_as_text(value))
    except ValueError as error:
        raise ConfigurationError(where, key, f"{_as_text(value)!r} cannot be", f"Expected {error}.") from None


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float, Path)) else repr(value)


def _check_local(setting: Setting, name: str, where: str, prefix: str, *, is_remote: bool) -> None:
    if setting.is_local and is_remote:
        raise ConfigurationError(
            where, f"{prefix}{name}", "only whoever runs the mock may set this", "Use a script file."
        )


def _check_place(value: object, recording: bytes, where: str, key: str) -> None:
    """Raises `ConfigurationError` for a place at a kind of event that no answer has; a recording has its own kinds."""
    place = value.where if isinstance(value, At) else value
    if not isinstance(place, Where) or not place.kind or place.kind in _KINDS:
        return
    if recording and (place.kind == TAIL or place.kind.encode() in recording):
        return
    near = difflib.get_close_matches(place.kind, _KINDS, 1)
    fix = f"Did you mean {near[0]}?" if near else f"Give its number, last, or one of {', '.join(_KINDS)}."
    raise ConfigurationError(where, key, f"{place.kind!r} is no kind of event", fix)


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name, [*_SETTINGS, *FAULTS], 1)
    return f"Did you mean {near[0]}?" if near else "docs/mock.md has the table of all of them."


def _written(given: Mapping[str, object]) -> str:
    return ",".join(
        name if value is True or value == "" else f"{name}={_quoted(value)}" for name, value in given.items()
    )


def _quoted(value: object) -> str:
    text = f"<{len(value)} bytes>" if isinstance(value, bytes) else _as_text(value)
    return quote(text, safe=" !\"#$&'()*+-./:;<=>?@[\\]^_`{|}~")


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "no"
    return f"`{default}`" if default not in {"", b""} else ""
