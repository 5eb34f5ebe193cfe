"""One record of use: a line of the journal, and what it does to the tables.

A record is filed once and for all: filing it again changes nothing, whoever does it. So a process that finds a journal
need not know how much of it is in the tables already.

The number in a tag goes up whenever the columns behind it change, since a journal may be found by a newer program;
that has to read the number before its own too, with the columns of then.
"""

from __future__ import annotations

import sqlite3

import msgspec

Count = int | None
RequestRow = tuple[str, str | None, str, str, str, str, int, int]
AttemptRow = tuple[str, int, str, str, int]
AttemptEnd = tuple[
    Count, Count, Count, Count, Count, Count, Count, Count,
    str, str, str | None, str | None,
    Count, Count, Count, Count, Count, Count,
    str, int,
]  # fmt: skip
RequestEnd = tuple[int, str, str]


class IntentRecord(msgspec.Struct, frozen=True, array_like=True, tag="intent.1"):
    """An attempt is about to begin; `request` comes with the first of them. Columns as the statements below have them.

    `request_id` is what the client was told.
    """

    request_id: str
    attempt: AttemptRow
    request: RequestRow | None

    def file(self, cursor: sqlite3.Cursor) -> bool:
        """Write it into the tables; whether it was not there yet. Raises `sqlite3.Error`."""
        if self.request is not None:
            cursor.execute(INSERT_REQUEST, self.request)
        return cursor.execute(INSERT_ATTEMPT, self.attempt).rowcount > 0


class SettlementRecord(msgspec.Struct, frozen=True, array_like=True, tag="settlement.1"):
    """An attempt has ended, and with the last one its request."""

    request_id: str
    attempt: AttemptEnd
    request: RequestEnd | None

    def file(self, cursor: sqlite3.Cursor) -> bool:
        """Write it into the tables; whether the attempt was open. Raises `sqlite3.Error`."""
        if cursor.execute(SETTLE_ATTEMPT, self.attempt).rowcount == 0:
            return False
        if self.request is not None:
            cursor.execute(END_REQUEST, self.request)
        return True


Record = IntentRecord | SettlementRecord

encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode
"""Raises `msgspec.ValidationError` for a record of another program, `msgspec.DecodeError` for a part of one."""


def filing_order(record: Record) -> int:
    """The least first: a request before its attempts, and an attempt before its end."""
    if isinstance(record, SettlementRecord):
        return 2
    return 0 if record.request is not None else 1


# Each statement is a constant, so that the driver keeps it prepared.

INSERT_REQUEST = """
INSERT INTO request (id, key_id, account, dialect, requested_model, route, streamed, admitted_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING
"""

INSERT_ATTEMPT = """
INSERT INTO attempt (request_id, n, upstream, upstream_model, state, started_at_ms)
VALUES (?, ?, ?, ?, 'intended', ?)
ON CONFLICT (request_id, n) DO NOTHING
"""

SETTLE_ATTEMPT = """
UPDATE attempt SET state = 'settled', first_event_ms = ?, duration_ms = ?,
    input_tokens = ?, cache_read_input_tokens = ?, cache_creation_input_tokens = ?,
    cache_creation_1h_input_tokens = ?, output_tokens = ?, thinking_tokens = ?,
    usage_source = ?, cause = ?, stop_reason = ?, upstream_request_id = ?,
    input_picousd = ?, output_picousd = ?, cache_read_picousd = ?, cache_write_picousd = ?,
    cache_write_1h_picousd = ?, cost_nanousd = ?
WHERE request_id = ? AND n = ? AND state = 'intended'
"""

END_REQUEST = "UPDATE request SET ended_at_ms = ?, cause = ? WHERE id = ? AND ended_at_ms IS NULL"
