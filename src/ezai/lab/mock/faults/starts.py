"""Before, and in place of, the answer."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from ezai.lab.mock.asked import Asked
from ezai.lab.mock.faults.placing import after
from ezai.lab.mock.reply import CUT, HOLD, INTERIM, REASONS, RESET, Frame, Items, Reply, Step, Wait
from ezai.lab.mock.values import Where

_BEFORE_EVENTS = Where(number=0)


class NoAnswer(StrEnum):
    """What happens instead of an answer."""

    HOLD = "hold"
    CLOSE = "close"
    RESET = "reset"


_INSTEAD: dict[NoAnswer, Step] = {NoAnswer.HOLD: HOLD, NoAnswer.CLOSE: CUT, NoAnswer.RESET: RESET}


def no_answer(reply: Reply, kind: NoAnswer, _asked: Asked) -> None:
    """The request is read, and then nothing, or the connection ends; after a release the answer comes."""
    reply.before.append(_INSTEAD[kind])


def headers_delay(reply: Reply, seconds: float, _asked: Asked) -> None:
    """The head comes late."""
    reply.before.append(Wait(seconds))


def first_event_delay(items: Items, seconds: float, _asked: Asked) -> Items:
    """The head comes at once, the first event late."""
    return after(items, _BEFORE_EVENTS, Wait(seconds))


def interim(status: int) -> Callable[[Reply, int, Asked], None]:
    """So many informational answers of one status before the real one."""
    fields = b"link: </style.css>; rel=preload\r\n" if status == 103 else b""
    data = b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, REASONS[status], fields)

    def put(reply: Reply, count: int, _asked: Asked) -> None:
        for _ in range(count):
            frame = Frame(data, INTERIM)
            frame.whole = False
            reply.before.append(frame)

    return put


def upgrade(reply: Reply, _on: bool, _asked: Asked) -> None:
    """The connection turns to another protocol that nobody asked for, and falls silent."""
    reply.status = 101
    reply.headers = [(b"upgrade", b"mock"), (b"connection", b"upgrade")]
    reply.wire_stages.append(lambda items: after(items, Where(kind="head"), HOLD))
