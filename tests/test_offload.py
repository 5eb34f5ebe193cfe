"""Work in a process of its own: its result or its error, its end, and what becomes of it when somebody dies."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ezai.errors import ContextOverflow, InvalidRequest, Overloaded
from ezai.offload import ProcessOffload
from ezai.protocol.anthropic.requests import read_facts, read_request
from tests.gateway_process import clean_environment
from tests.pipeline.fakes import FakeClock
from tests.supervise.processes import watched

GATEWAY = """
import asyncio, os, sys
from ezai.offload import ProcessOffload
from ezai.system import SystemClock

async def main():
    offload = ProcessOffload(SystemClock())
    while True:
        print(await offload.run(os.getpid), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

if __name__ == "__main__":
    asyncio.run(main())
"""


@contextmanager
def offload() -> Iterator[tuple[asyncio.Runner, ProcessOffload, FakeClock]]:
    clock = FakeClock()
    with asyncio.Runner() as runner:
        offload = ProcessOffload(clock, idle_s=60)
        yield runner, offload, clock
        runner.run(offload.aclose())


def overflow() -> None:
    raise ContextOverflow(9, 8)


def die() -> None:
    os._exit(1)


def test_it_is_done_elsewhere_and_comes_back() -> None:
    with offload() as (runner, there, _):
        assert runner.run(there.run(os.getpid)) != os.getpid()
        body = b'{"model":"m","max_tokens":3,"messages":[{}],"x":1}'
        assert runner.run(there.run(read_facts, read_request, body)) == read_request(body).facts


def test_errors_come_back_as_they_are() -> None:
    with offload() as (runner, there, _):
        with pytest.raises(InvalidRequest, match="^model: Field required$") as invalid:
            runner.run(there.run(read_facts, read_request, b"{}"))
        assert (invalid.value.http_status, invalid.value.error_code) == (400, "invalid_request")
        with pytest.raises(ContextOverflow) as overflowed:
            runner.run(there.run(overflow))
        assert (overflowed.value.prompt_tokens, overflowed.value.context_tokens) == (9, 8)
        assert overflowed.value.message == "prompt is too long: 9 tokens > 8 maximum"


def test_a_worker_that_dies_is_told_and_replaced() -> None:
    with offload() as (runner, there, _):
        first = runner.run(there.run(os.getpid))
        with pytest.raises(Overloaded):
            runner.run(there.run(die))
        assert runner.run(there.run(os.getpid)) != first


def test_many_at_once_share_one_worker() -> None:
    with offload() as (runner, there, _):

        async def main() -> list[int]:
            return await asyncio.gather(*(there.run(os.getpid) for _ in range(5)))

        assert len(set(runner.run(main()))) == 1


def test_an_idle_worker_ends_and_the_next_work_starts_another() -> None:
    with offload() as (runner, there, clock):
        first = runner.run(there.run(os.getpid))
        clock.advance(59)
        assert runner.run(there.run(os.getpid)) == first

        async def pass_minute() -> None:
            clock.advance(60)

        with watched(first) as worker:
            runner.run(pass_minute())
            worker.wait()
        assert not clock.watchers
        assert runner.run(there.run(os.getpid)) != first


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_worker_dies_with_the_gateway_and_of_nothing_else(ending: signal.Signals) -> None:
    gateway = subprocess.Popen(
        [sys.executable, "-c", GATEWAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )
    assert gateway.stdin is not None
    assert gateway.stdout is not None
    pid = int(gateway.stdout.readline())
    with gateway, watched(pid) as worker:
        for sent_to_all in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, sent_to_all)
        gateway.stdin.write(b"again\n")
        gateway.stdin.flush()
        assert int(gateway.stdout.readline()) == pid
        gateway.send_signal(ending)
        gateway.stdin.close()
        worker.wait()


def test_where_no_process_can_be_made_it_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file_left() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with offload() as (runner, there, _):
        with monkeypatch.context() as short:
            short.setattr("ezai.offload._one_worker", no_file_left)
            with pytest.raises(Overloaded):
                runner.run(there.run(os.getpid))
        assert runner.run(there.run(os.getpid)) != os.getpid()


def test_signals_to_the_group_do_not_end_it() -> None:
    with offload() as (runner, there, _):
        pid = runner.run(there.run(os.getpid))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            os.kill(pid, number)
        assert runner.run(there.run(os.getpid)) == pid
