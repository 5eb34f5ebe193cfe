"""Every fault: a row each, in the order in which they are applied.

A row names the fault, says how its value is read, which function does it and at which stage, for which rows of the
project's fault table it is meant, and what it means to a user. `docs/mock.md` shows the same table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ezai.lab.mock import values
from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults import contents, endings, framing, heads, openai, order, starts
from ezai.lab.mock.reply import Items, KeepAlive, Reply
from ezai.lab.mock.values import At, Reader, Where

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `apply` changes a reply before it is played."""

    name: str
    reader: Reader[Any]
    apply: Callable[[Reply, Any, Asked], None]
    rows: str
    meaning: str


def _head(name: str, reader: Reader[T], function: Callable[[Reply, T, Asked], None], rows: str, meaning: str) -> Fault:
    """A fault that changes the reply itself."""
    return Fault(name, reader, function, rows, meaning)


def _events(
    name: str, reader: Reader[T], function: Callable[[Items, T, Asked], Items], rows: str, meaning: str
) -> Fault:
    """A fault of the events, before they are framed."""

    def apply(reply: Reply, value: T, asked: Asked) -> None:
        value = _placed(reply, name, value)
        reply.event_stages.append(lambda items: function(items, value, asked))

    return Fault(name, reader, apply, rows, meaning)


def _wire(name: str, reader: Reader[T], function: Callable[[Items, T, Asked], Items], rows: str, meaning: str) -> Fault:
    """A fault of the bytes as they go out."""

    def apply(reply: Reply, value: T, asked: Asked) -> None:
        value = _placed(reply, name, value)
        reply.wire_stages.append(lambda items: function(items, value, asked))

    return Fault(name, reader, apply, rows, meaning)


def _placed(reply: Reply, name: str, value: T) -> T:
    """The same value; if it is a place, one that tells the reply when it has come."""
    if isinstance(value, Where):
        return cast("T", value.watched(reply.awaits(name)))
    if isinstance(value, At):
        return cast("T", value._replace(where=value.where.watched(reply.awaits(name))))
    return value


# fmt: off
_ROWS = (
    # In place of the answer.
    _head("status", values.STATUS, heads.status, "U25, U26, C14",
          "An error answer of this status, with `error_type`, `error_message`, `retry_after`."),
    _head("redirect", values.TEXT, heads.redirect, "U27",
          "302 to this address."),
    _head("body", values.one_of(*heads.BODY_KINDS), heads.body, "U18",
          "Another body than the one due, with its own content type, under the same status."),
    # The head.
    _head("content_type", values.TEXT, heads.content_type, "U18",
          "Another content type over the same body."),
    _head("extra_headers", values.TEXT, heads.extra_headers, "U29",
          "More headers: `name: value`, joined by a bar."),
    _head("header_bytes", values.SIZE, heads.header_bytes, "U29",
          "One header of this size."),
    _head("header_count", values.COUNT, heads.header_count, "U29",
          "So many headers more."),
    _head("header_echo", values.FLAG, heads.header_echo, "U29",
          "The client's credentials, sent back in headers."),
    _head("header_raw", values.one_of(*heads.RAW_HEADER_KINDS), heads.header_raw, "U29",
          "A header that HTTP forbids, or hardly allows."),
    _head("content_encoding", values.TEXT, heads.content_encoding, "U28",
          "Encodings nobody asked for, joined by +: `gzip` is done, also `gzip+gzip`; others are only claimed."),
    _head("gzip_bomb", values.SIZE, heads.gzip_bomb, "U28",
          "A small gzip body that decodes to comment lines of this size."),
    _head("keep_alive", values.choice(KeepAlive), heads.keep_alive, "U34",
          "The connection afterwards: closed as announced, silently, or just as the next request comes."),
    # Before the head.
    _head("headers_delay_s", values.SECONDS, starts.headers_delay, "U3",
          "The head comes late."),
    _head("continues", values.COUNT, starts.interim(100), "U30",
          "So many `100 Continue` before the answer."),
    _head("early_hints", values.COUNT, starts.interim(103), "U30",
          "So many `103 Early Hints` before the answer."),
    _head("upgrade", values.FLAG, starts.upgrade, "U30",
          "`101 Switching Protocols`, then silence."),
    _head("no_answer", values.choice(starts.NoAnswer), starts.no_answer, "U3, U15",
          "The request is read, and then: silence, a close, a reset."),
    # Which events there are, and in which order.
    _events("drop", values.WHERE, order.drop, "U12, U13, U31, U33",
            "The event is missing: `message_stop`, `message_delta`, `usage`, `done`, or any."),
    _events("repeat", values.WHERE, order.repeat, "U31",
            "The event comes twice: `message_start`, or any."),
    _events("swap", values.WHERE, order.swap, "U31",
            "The event comes after the next one."),
    _events("unknown_event", values.WHERE, contents.unknown_event, "U31",
            "Behind the event, one of a name that no client knows."),
    _events("unknown_delta", values.WHERE, contents.unknown_delta, "U31",
            "Behind the event, a delta of a kind that no client knows."),
    _events("index_gap", values.WHERE, contents.index_gap, "U31",
            "Anthropic: from the event on, block indexes are one too high."),
    _events("empty_choices", values.WHERE, openai.empty_choices, "U33",
            "OpenAI: behind the event, a chunk without choices."),
    # What they hold.
    _events("usage", values.one_of(*contents.USAGE_KINDS), contents.usage, "U32",
            "Usage that no answer can have."),
    _events("finish_null", values.FLAG, openai.finish_null, "U33",
            "OpenAI: no chunk says why the answer ended."),
    _events("role_repeats", values.FLAG, openai.role_repeats, "U33",
            "OpenAI: every chunk says the role again."),
    _events("tool_index", values.one_of("missing", "zero"), openai.tool_index, "U33",
            "OpenAI: the index on pieces of tool calls."),
    _events("garbage", values.WHERE, contents.garbage, "U17",
            "The event's data breaks off in the middle of its JSON."),
    _events("invalid_utf8", values.WHERE, contents.in_string(b"\xff\xc3("), "U10",
            "The event holds bytes that are not UTF-8."),
    _events("lone_surrogate", values.WHERE, contents.in_string(b"\\ud800"), "U10",
            "The event holds half of a surrogate pair, escaped."),
    _events("unnamed", values.FLAG, contents.unnamed, "6.1",
            "No event has its `event:` line."),
    _events("huge_event", values.SIZE, contents.huge_event, "U19",
            "One piece of text of this size before the others."),
    _events("long_line", values.SIZE, contents.long_line, "U20",
            "A line of this size before the text."),
    _events("comments", values.COUNT, contents.lines(b": mock\n\n"), "U22",
            "So many comments before the text."),
    _events("blank_lines", values.COUNT, contents.lines(b"\n"), "U22",
            "So many empty lines before the text."),
    # When they come, and how they end.
    _events("first_event_delay_s", values.SECONDS, starts.first_event_delay, "U4",
            "The head comes at once, the first event late."),
    _events("pause_after", values.at(values.SECONDS), endings.pause_after, "U5",
            "Behind the event, silence for a time."),
    _events("stall_after", values.WHERE, endings.stall_after, "U4, U5",
            "Behind the event, silence until `release`; `stall_after=0`: headers, then silence."),
    _events("error_after", values.at(values.TEXT, ""), contents.error_after, "U23, U24",
            "Behind the event, an error of this type (else `error_type`, else overloaded) and the end."),
    _events("end_after", values.WHERE, endings.end_after, "U12",
            "Behind the event, the HTTP answer ends as it should."),
    _events("end_in", values.at(values.COUNT, 0), endings.end_in, "U11",
            "The same inside the event, after so many bytes of it or in its middle."),
    _events("cut_after", values.WHERE, endings.cut_after, "U12, U14",
            "Behind the event, a close (FIN); with `framing=close` that is a clean end."),
    _events("reset_after", values.WHERE, endings.reset_after, "U15, U16",
            "Behind the event, a reset (RST); `last`: before the end of the framing."),
    # The bytes as they go out.
    _head("content_length", values.one_of(*framing.LENGTH_KINDS), framing.content_length, "U14, C7",
          "A Content-Length that is wrong, or stands beside chunks."),
    _wire("chunk_longer", values.WHERE, framing.chunk_size(framing.longer), "U14",
          "The event's chunk says more than it holds."),
    _wire("chunk_shorter", values.WHERE, framing.chunk_size(framing.shorter), "U14",
          "The event's chunk says less than it holds."),
    _wire("chunk_junk", values.WHERE, framing.chunk_size(framing.junk), "U14",
          "The event's chunk has no number for a size."),
    _wire("chunk_enormous", values.WHERE, framing.chunk_size(framing.enormous), "U14",
          "The event's chunk has a size of over 64 bits."),
    _wire("bad_trailer", values.FLAG, framing.bad_trailer, "U14",
          "What stands behind the last chunk is no trailer."),
    _wire("no_last_chunk", values.FLAG, framing.no_last_chunk, "U14",
          "Every event comes, then a close without the last chunk."),
    _wire("stall_in", values.at(values.COUNT, 0), endings.stall_in, "U5",
          "Inside the event, silence until `release`; then the rest of it."),
    _wire("cut_in", values.at(values.COUNT, 0), endings.cut_in, "U11, U14",
          "A close (FIN) inside the event and so inside its chunk: after so many bytes, framing counted, or halfway."),
    _wire("reset_in", values.at(values.COUNT, 0), endings.reset_in, "U15",
          "The same as a reset."),
    _wire("cut_byte", values.COUNT, framing.cut_byte, "U11, U14",
          "A close (FIN) after so many bytes of the body, framing counted; at its end if it has fewer."),
    _wire("reset_byte", values.COUNT, framing.reset_byte, "U15",
          "A reset (RST) after so many bytes of the body, framing counted; at its end if it has fewer."),
    _wire("split", values.OFFSETS, framing.split, "U8, U9",
          "The body leaves in pieces that end at these offsets."),
    _wire("slice", values.SIZE, framing.slices, "U7",
          "Head and body leave in pieces of this size."),
)
# fmt: on

FAULTS: dict[str, Fault] = {row.name: row for row in _ROWS}
