"""The command line of the README, as it stands there but for the port."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest

from ezai.protocol.anthropic.fold import fold
from tests.gateway_process import GatewayProcess, clean_environment
from tests.sdk.wire import read_events

URL = "http://127.0.0.1:8080"
COMMAND = (
    f"curl --no-buffer {URL}/v1/messages "
    '-H "x-api-key: sk-your-key" -H "anthropic-version: 2023-06-01" -H "content-type: application/json" '
    '-d \'{"model":"claude-sonnet-4-5","max_tokens":256,"stream":true,'
    '"messages":[{"role":"user","content":"Explain streaming in 3 sentences."}]}\''
)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine (.ci/run installs it)")
def test_item_64_curl_prints_a_whole_legal_stream(gateway: GatewayProcess) -> None:
    command = shlex.split(COMMAND.replace(URL, gateway.url))
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, timeout=100, check=True)
    message = fold(read_events(ended.stdout))
    assert message["model"] == "claude-sonnet-4-5"
    assert message["content"][0]["text"]
    assert message["stop_reason"] in {"end_turn", "max_tokens"}
