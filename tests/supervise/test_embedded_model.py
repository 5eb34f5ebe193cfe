"""The supervised child with the real model in it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from ezai.errors import SetupError
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings
from ezai.upstreams.embedded import EmbeddedEndpoint
from tests.model_fixture import ensure_model
from tests.models.retemplated import BARE_CALLS, MARKED_CALLS, retemplate
from tests.supervise.processes import watched

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def model_path() -> Path:
    return ensure_model()


@pytest.fixture
def settings(model_path: Path) -> EmbeddedSettings:
    return EmbeddedSettings(model_path, context_tokens=256, slots=2)


def _ask(url: str, path: str, api_key: str, body: object = None) -> tuple[int, bytes]:
    request = urllib.request.Request(
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


async def _asked(
    endpoint: EmbeddedEndpoint, path: str, body: object = None, *, key: str | None = None
) -> tuple[int, bytes]:
    api_key = endpoint.api_key if key is None else key
    return await asyncio.to_thread(_ask, endpoint.base_url, path, api_key, body)


@pytest.mark.parametrize(("template", "bare"), [(BARE_CALLS, True), (MARKED_CALLS, False), (None, False)])
def test_it_tells_how_its_template_writes_calls(
    settings: EmbeddedSettings, tmp_path: Path, template: str | None, bare: bool
) -> None:
    async def main() -> None:
        if template is None:
            child = EmbeddedChild(settings)
        else:
            retemplate(settings.model_path, tmp_path / "model.gguf", template)
            child = EmbeddedChild(replace(settings, model_path=tmp_path / "model.gguf"))
        await child.start()
        try:
            assert child.endpoint is not None
            assert child.endpoint.bare_calls is bare
            assert child.endpoint.grammars
        finally:
            await child.aclose()

    asyncio.run(main())


CHAT = {"messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 3}


def test_it_answers_those_who_have_the_key_and_does_not_tell_its_path(settings: EmbeddedSettings) -> None:
    async def main() -> None:
        child = EmbeddedChild(settings)
        await child.start()
        try:
            endpoint = child.endpoint
            assert endpoint is not None
            status, answer = await _asked(endpoint, "/v1/chat/completions", CHAT)
            assert status == 200
            assert json.loads(answer)["model"] == "embedded"
            assert json.loads(answer)["usage"]["completion_tokens"] <= 3
            status, models = await _asked(endpoint, "/v1/models")
            assert status == 200
            for told in (answer, models):
                assert b"smollm" not in told.lower()
                assert b".gguf" not in told
            status, slots = await _asked(endpoint, "/slots")
            assert [slot["n_ctx"] for slot in json.loads(slots)] == [256, 256]
            for path in ("/v1/chat/completions", "/v1/models", "/slots", "/props"):
                assert (await _asked(endpoint, path, key="another"))[0] == 401
            assert (await _asked(endpoint, "/", key=""))[0] == 404, "it has a page"
        finally:
            await child.aclose()

    asyncio.run(main())


def test_a_slot_holds_no_more_than_the_model_was_trained_with(model_path: Path) -> None:
    async def main() -> None:
        child = EmbeddedChild(EmbeddedSettings(model_path, context_tokens=8192 + 1024, slots=1))
        await child.start()
        assert child.context_tokens == 8192
        await child.aclose()

    asyncio.run(main())


def test_signals_to_the_group_do_not_end_it_and_closing_does(settings: EmbeddedSettings) -> None:
    async def main() -> None:
        child = EmbeddedChild(settings)
        await child.start()
        endpoint, pid = child.endpoint, child.pid
        assert endpoint is not None
        assert pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert (await _asked(endpoint, "/v1/chat/completions", CHAT))[0] == 200
        assert child.endpoint == endpoint
        await child.aclose()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(main())


def test_it_comes_back_somewhere_else_when_it_was_killed(settings: EmbeddedSettings) -> None:
    async def main() -> None:
        down = asyncio.Event()

        async def no_wait(delay_s: float) -> None:
            down.set()

        child = EmbeddedChild(settings, sleep=no_wait)
        await child.start()
        before = child.endpoint
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await down.wait()
        after = await child.ready()
        assert after is not None
        assert after != before
        assert (await _asked(after, "/v1/chat/completions", CHAT))[0] == 200
        await child.aclose()

    asyncio.run(main())


def test_a_file_that_is_no_model_is_a_sentence(model_path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "secret-file.gguf"
    with model_path.open("rb") as whole:
        cut.write_bytes(whole.read(3_000_000))

    async def main() -> None:
        child = EmbeddedChild(EmbeddedSettings(cut, context_tokens=256, slots=1))
        with pytest.raises(SetupError, match="could not be loaded") as refusal:
            await child.start()
        assert "secret" not in str(refusal.value)
        assert str(tmp_path) not in str(refusal.value)
        await child.aclose()

    asyncio.run(main())


_GATEWAY = """
import asyncio, sys
from pathlib import Path
from ezai.supervise.embedded import EmbeddedChild, EmbeddedSettings

async def main():
    child = EmbeddedChild(EmbeddedSettings(Path(sys.argv[1]), 256, 1))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_it_is_gone_when_the_gateway_is_killed(model_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _GATEWAY, str(model_path)], stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout is not None
        with watched(int(gateway.stdout.readline())) as child:
            gateway.kill()
            child.wait()
