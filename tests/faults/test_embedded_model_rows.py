"""Row S12: the embedded model dies, stops, or was never good; others do not notice, and it comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.faults.operated import Operated, finished, operate
from tests.model_fixture import ensure_model
from tests.models.retemplated import retemplate
from tests.raw_client import RawClient, request
from tests.supervise.processes import watched

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

UP = "The embedded model is ready: 1 slots of 512 tokens."
LOCAL = """
[[upstreams]]
name = "local"
kind = "embedded"
model = "{model}"
slots = 1
context = {context}
threads = 1
[[routes]]
model = "claude-*"
targets = [{{ upstream = "local" }}]
[[routes]]
model = "*"
targets = [{{ upstream = "up" }}]
"""


def counting(max_tokens: int) -> bytes:
    """Asks for a stream that takes a while."""
    return request(
        model="claude-local",
        max_tokens=max_tokens,
        temperature=0,
        stream=True,
        messages=[{"role": "user", "content": "Write the numbers from 1 to 5000, separated by commas."}],
    )


SHORT_ONE = request(model="claude-local", max_tokens=2, temperature=0)
OTHER = request(model="other", stream=True)


def local(model: Path, context: int = 512) -> str:
    return LOCAL.format(model=model, context=context)


def model_pid(gateway: Operated) -> int:
    """The process that runs the model: it alone has its module on the command line."""
    (pid,) = (pid for pid in gateway.worker_pids() if b"embedded_child" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return pid


async def begun(gateway: Operated, ask: bytes, sign: bytes) -> RawClient:
    """A client in the middle of a stream."""
    client = await gateway.client()
    client.send(ask)
    await client.until(sign)
    return client


WAYS = [
    pytest.param(signal.SIGSEGV, 1, "openai", id="SIGSEGV"),
    pytest.param(signal.SIGABRT, 1, "anthropic", id="SIGABRT-as-out-of-memory"),
    pytest.param(signal.SIGSTOP, 1, "openai", id="SIGSTOP"),
    pytest.param(signal.SIGKILL, 2, "anthropic", id="SIGKILL-two-workers"),
]
"""How it dies, how many workers there are, and the wire of the other upstream; the model has one of its own."""


@pytest.mark.parametrize(("number", "workers", "wire"), WAYS)
def test_row_s12_its_streams_are_told_others_go_on_and_it_comes_back(
    number: signal.Signals, workers: int, wire: str, tmp_path: Path
) -> None:
    async def test(gateway: Operated) -> None:
        streams = [await begun(gateway, counting(250), b"content_block_delta")]
        others = [await begun(gateway, OTHER, b'"Half"') for _ in range(4)]
        killed = model_pid(gateway)
        os.kill(killed, number)
        for client in streams:
            told = await client.rest_or_cut()
            assert told.count(b"event: error") == 1
            assert b'"error_code":"upstream_truncated"' in told
            assert told.endswith(b"0\r\n\r\n")
        await gateway.logged(UP, times=2)
        assert model_pid(gateway) != killed
        for _ in range(6):  # each worker knows where it is now
            client = await gateway.client()
            client.send(SHORT_ONE)
            assert (await client.answer()).status == 200
        gateway.let_go()
        for client in others:
            assert finished(await client.rest_or_cut())

    operate(test, tmp_path, workers=workers, wire=wire, more=local(ensure_model()))


def cut(model: Path, copy: Path) -> None:
    with model.open("rb") as whole:
        copy.write_bytes(whole.read(3_000_000))


def lying(model: Path, copy: Path) -> None:
    """Its header says that there are more tensors than the file holds."""
    data = bytearray(model.read_bytes())
    data[8:16] = (1_000_000).to_bytes(8, "little")
    copy.write_bytes(data)


@pytest.mark.parametrize("spoil", [cut, lying], ids=lambda spoil: spoil.__name__)
def test_row_s12_a_bad_file_is_refused_and_the_model_that_runs_goes_on(spoil: object, tmp_path: Path) -> None:
    assert callable(spoil)
    model, bad = ensure_model(), tmp_path / "bad.gguf"
    spoil(model, bad)

    async def test(gateway: Operated) -> None:
        before = model_pid(gateway)
        gateway.write(gateway.text(more=local(bad)))
        gateway.send(signal.SIGHUP)
        line = await gateway.logged("the configuration was not reloaded, the former one stays")
        assert "model" in line["reason"]
        assert model_pid(gateway) == before
        client = await gateway.client()
        client.send(SHORT_ONE)
        assert (await client.answer()).status == 200

    operate(test, tmp_path, more=local(model))


TEMPLATES = [
    "{{ cycler.__init__.__globals__.os.system('touch %s') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ open('%s', 'w') }}",
    "{%% import os %%}{{ os.system('touch %s') }}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_row_s12_a_template_of_a_model_runs_nothing(template: str, tmp_path: Path) -> None:
    model, hostile, touched = ensure_model(), tmp_path / "hostile.gguf", tmp_path / "t"
    retemplate(model, hostile, template % touched)

    async def test(gateway: Operated) -> None:
        gateway.write(gateway.text(more=local(hostile)))
        gateway.send(signal.SIGHUP)
        await asyncio.to_thread(gateway.gateway.wait_for_text, '"the configuration was ')  # taken, or not
        client = await gateway.client()
        client.send(SHORT_ONE)
        await client.answer()
        assert not touched.exists()
        other = await begun(gateway, OTHER, b'"Half"')
        gateway.let_go()
        assert finished(await other.rest_or_cut())

    operate(test, tmp_path, more=local(model))


# A reload that changes the model.


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_starts_the_new_model_beside_the_old_one(workers: int, tmp_path: Path) -> None:
    model = ensure_model()

    async def test(gateway: Operated) -> None:
        before = model_pid(gateway)
        old = gateway.stack.enter_context(watched(before))
        stream = await begun(gateway, counting(120), b"content_block_delta")
        gateway.write(gateway.text(more=local(model, context=256)))
        gateway.send(signal.SIGHUP)
        await gateway.logged("the configuration was reloaded")
        for _ in range(6):
            client = await gateway.client()
            client.send(SHORT_ONE)
            assert (await client.answer()).status == 200
        assert finished(await stream.rest_or_cut()), "the old one gives its answer to the end"
        await asyncio.to_thread(old.wait)
        assert model_pid(gateway) != before

    operate(test, tmp_path, workers=workers, more=local(model))
