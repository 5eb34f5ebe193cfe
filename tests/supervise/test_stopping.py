"""Stages only go further; waits end at the first thing that happens."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from ezai.config import Config, LimitsConfig
from ezai.errors import SetupError
from ezai.supervise import files
from ezai.supervise.files import PER_CONNECTION, RESERVED, connections_that_fit
from ezai.supervise.notify import ServiceNotifier
from ezai.supervise.sockets import SUCCESSION, succession, take_inheritance
from ezai.supervise.stopping import Stage, Stopping, first_of


def test_a_stage_is_never_taken_back() -> None:
    stopping = Stopping()
    stopping.advance(Stage.ENDING)
    stopping.advance(Stage.HANDING_OVER)
    assert stopping.stage is Stage.ENDING


def test_whoever_waits_for_a_stage_is_told_of_a_later_one_too() -> None:
    async def test() -> None:
        stopping = Stopping()
        waiting = asyncio.get_running_loop().create_task(stopping.reached(Stage.DRAINING))
        for stage in (Stage.HANDING_OVER, Stage.CUTTING):
            await asyncio.sleep(0)
            assert not waiting.done()
            stopping.advance(stage)
        await waiting

    asyncio.run(test())


def test_work_is_cancelled_when_the_stage_comes_first() -> None:
    async def test() -> None:
        stopping, ended = Stopping(), []

        async def work() -> int:
            try:
                stopping.advance(Stage.DRAINING)
                await asyncio.Event().wait()
            finally:
                ended.append(True)
            return 1

        assert await stopping.unless_reached(Stage.DRAINING, work()) is None
        assert ended == [True]

        async def quick() -> int:
            return 2

        assert await Stopping().unless_reached(Stage.DRAINING, quick()) == 2

    asyncio.run(test())


def test_what_the_first_raises_is_raised() -> None:
    async def fail() -> None:
        raise SetupError("It cannot.")

    async def test() -> None:
        with pytest.raises(SetupError):
            await first_of(fail(), asyncio.Event().wait())
        assert not await first_of(asyncio.Event().wait(), timeout_s=0)

    asyncio.run(test())


# What a process is given at its start.


def test_an_environment_without_anything_gives_nothing() -> None:
    for environ in ({}, {SUCCESSION: "nonsense"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}):
        given = take_inheritance(environ)
        assert (given.listening, given.predecessor, environ) == (None, None, {})
        given.tell_ready()


def test_a_successor_is_given_both_ends_and_tells_when_it_serves() -> None:
    ours, theirs = socket.socketpair()
    with ours, socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        environ = succession({"A": "b"}, listening, theirs)
        given = take_inheritance(environ)
        listening.detach()
        theirs.detach()
        assert environ == {"A": "b"}
        assert given.listening is not None
        assert given.listening.getsockname() == address
        assert not given.listening.getblocking()
        assert not given.listening.get_inheritable()
        given.tell_ready()
        given.tell_ready()
        assert ours.recv(100) == b"ready\n"
        assert ours.recv(100) == b""
        given.close()


def test_a_predecessor_that_has_gone_is_not_missed() -> None:
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        given = take_inheritance(succession({}, listening, theirs))
        listening.detach()
        theirs.detach()
        ours.close()
        given.tell_ready()
        given.close()


def test_a_descriptor_that_is_no_socket_is_a_sentence(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(SetupError, match="is no socket"):
        take_inheritance({SUCCESSION: f"{file.fileno()}:{file.fileno()}"})


def test_a_manager_that_does_not_listen_is_not_missed(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "nobody"), "@nobody-at-all"):
        notifier = ServiceNotifier({"NOTIFY_SOCKET": address})
        notifier.ready()
        notifier.stopping()


# Open files.


@pytest.mark.parametrize(("allowed", "fitting"), [(RESERVED + 100 * PER_CONNECTION, 100), (10, 1), (1 << 20, 4000)])
def test_so_many_connections_fit(
    allowed: int, fitting: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "raise_file_limit", lambda wanted: min(wanted, allowed))
    assert connections_that_fit(Config(limits=LimitsConfig(connections=4000))) == fitting
    assert ("leaves room for fewer" in caplog.text) == (fitting < 4000)
