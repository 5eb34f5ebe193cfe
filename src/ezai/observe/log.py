"""The form of log lines. Prompts, answers and credentials are never in them: nothing that logs is given any.

Text is for a terminal, JSON (one object a line) for everything else. Control characters cannot forge a line in either.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

from ezai.observe.log_output import LogOutput

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OURS = "ezai"


def start_logging(level: str, form: Literal["auto", "text", "json"], stream: TextIO = sys.stderr) -> None:
    """Send the records of this package, and warnings of its libraries, to `stream`. Replaces earlier handlers."""
    as_text = stream.isatty() if form == "auto" else form == "text"
    handler = _handler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    # What no line of ours shows is not looked up for it (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # no walk up the stack
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(level.upper())


def _handler(stream: TextIO) -> logging.Handler:
    """One that never waits for a reader, and the same again for the same stream.

    Of a stream that is no descriptor there is nobody to wait for.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return logging.StreamHandler(stream)
    present = (item for item in logging.getLogger().handlers if isinstance(item, LogOutput))
    return next((item for item in present if item.descriptor == descriptor), None) or LogOutput(descriptor)


def lost_lines() -> int:
    """How many lines were dropped because nobody read them."""
    return sum(handler.lost_lines for handler in logging.getLogger().handlers if isinstance(handler, LogOutput))


class TextFormatter(logging.Formatter):
    """`12:34:56 INFO request served status=200 ...`"""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = "".join(f" {name}={_one_line(value)}" for name, value in _fields(record).items() if value is not None)
        line = f"{moment} {record.levelname} {_one_line(record.getMessage())}{fields}"
        return f"{line}\n{self._traceback(record)}" if record.exc_info else line

    def _traceback(self, record: logging.LogRecord) -> str:
        """Indented, so that no line of it can be taken for a line of the log, whatever an exception says."""
        assert record.exc_info is not None
        first, *rest = self.formatException(record.exc_info).split("\n")
        return "\n".join([_one_line(first), *("  " + _one_line(text) for text in rest)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a caller gave as `extra={"fields": {...}}`."""
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _one_line(value: object) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", str(value))
