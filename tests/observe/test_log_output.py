"""Lines are written in order, nobody waits, and what is lost is told."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ezai.observe import log_output
from ezai.observe.log_output import LogOutput

LINE = "x" * 999


class Output:
    """A handler on a pipe whose reader reads when it is told to."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.handler = LogOutput(self.writing)

    def write(self, text: str) -> None:
        self.handler.handle(logging.LogRecord("ezai", logging.INFO, "", 0, text, (), None))

    def read(self, lines: int) -> list[str]:
        """So many lines, which have to come."""
        data = b""
        while data.count(b"\n") < lines:
            data += os.read(self.reading, 1 << 20)
        return data.decode().splitlines()


@contextmanager
def output() -> Iterator[Output]:
    made = Output()
    yield made
    made.handler.close()
    os.close(made.reading)
    os.close(made.writing)


def test_a_line_is_written_at_once() -> None:
    with output() as pipe:
        pipe.write("Grüße")
        assert pipe.read(1) == ["Grüße"]
        assert pipe.handler.lost_lines == 0


def test_the_descriptor_of_others_is_left_as_it_was() -> None:
    with output() as pipe:
        assert os.get_blocking(pipe.writing)


def test_what_does_not_fit_waits_and_comes_in_order() -> None:
    with output() as pipe:
        numbers = [f"{number:06} {LINE}" for number in range(500)]
        for line in numbers:
            pipe.write(line)
        assert pipe.read(500) == numbers
        pipe.write("and on")
        assert pipe.read(1) == ["and on"]
        assert pipe.handler.lost_lines == 0


def test_what_is_too_much_is_dropped_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "MAX_WAITING_BYTES", 10_000)
    with output() as pipe:
        for number in range(200):
            pipe.write(f"{number:06} {LINE}")
        lost = pipe.handler.lost_lines
        assert 0 < lost < 200
        lines = pipe.read(200 - lost + 1)
        assert [line[:6] for line in lines[:-1]] == [f"{number:06}" for number in range(200 - lost)]
        assert lines[-1] == "log lines were lost: nobody read them"


def test_a_reader_that_is_gone_is_nobodys_trouble() -> None:
    reading, writing = os.pipe()
    handler = LogOutput(writing)
    os.close(reading)
    handler.handle(logging.LogRecord("ezai", logging.INFO, "", 0, LINE, (), None))
    assert handler.lost_lines == 1
    handler.close()
    handler.close()
    os.close(writing)


def test_a_file_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        handler = LogOutput(file.fileno())
        handler.handle(logging.LogRecord("ezai", logging.INFO, "", 0, "a line", (), None))
    assert path.read_text() == "a line\n"


def test_a_socket_as_of_the_journal_is_written_to_and_may_stop() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        handler = LogOutput(theirs.fileno())
        for _ in range(1000):
            handler.handle(logging.LogRecord("ezai", logging.INFO, "", 0, LINE, (), None))
        assert theirs.getblocking()
        data = b""
        while data.count(b"\n") < 1000 - handler.lost_lines:
            data += ours.recv(1 << 20)
        assert set(data.decode().splitlines()) <= {LINE, "log lines were lost: nobody read them"}
        handler.close()


def test_flushing_writes_what_waits_and_gives_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_output, "FLUSH_S", 0.01)
    with output() as pipe:
        for _ in range(200):
            pipe.write(LINE)
        pipe.handler.flush()  # nobody reads, and it returns
        monkeypatch.setattr(log_output, "FLUSH_S", 60)
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(pipe.read(200)))
        reader.start()
        pipe.handler.acquire()  # as the library does at the end of the process
        pipe.handler.flush()
        pipe.handler.release()
        reader.join()
        assert lines == [LINE] * 200


def test_a_record_that_cannot_be_formatted_is_told_as_the_library_does(capsys: pytest.CaptureFixture[str]) -> None:
    with output() as pipe:
        pipe.handler.handle(logging.LogRecord("ezai", logging.INFO, "", 0, "%d", ("no number",), None))
        assert "Logging error" in capsys.readouterr().err
