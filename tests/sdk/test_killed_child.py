"""SIGKILL of the embedded model's process in mid-answer: everybody is told, and the next one is answered.

One process is killed under five streams: one read as bytes, and one of each SDK.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic

from tests.canary import CLIENT_KEY
from tests.gateway_process import GatewayProcess, running_gateway
from tests.sdk.clients import CLIENTS, PYTHON, TYPESCRIPT, Client, printed
from tests.sdk.prompts import endless
from tests.sdk.wire import Answer, RawClient

RAW_MODEL = "claude-raw"


@dataclass(frozen=True)
class Outcome:
    gateway: GatewayProcess
    killed_pid: int
    raw: Answer
    told: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def outcome(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    config = tmp_path_factory.mktemp("killed") / "ezai.toml"
    config.write_text('[[upstreams]]\nname = "local"\nkind = "embedded"\nslots = 5\n', "utf-8")
    with running_gateway(config) as gateway, ExitStack() as stack:
        sdks = {
            client.name: stack.enter_context(client.start("broken", gateway.url, PYTHONUNBUFFERED="1"))
            for client in CLIENTS
        }
        raw = stack.enter_context(RawClient(gateway.url, "/v1/messages", endless(RAW_MODEL, 4000, stream=True)))
        for process in sdks.values():
            wait_for_first_text(process)
        raw.read_texts(1)
        killed_pid = gateway.embedded_child_pid()
        os.kill(killed_pid, signal.SIGKILL)
        yield Outcome(
            gateway, killed_pid, raw.read_to_end(), {name: printed(process) for name, process in sdks.items()}
        )


def wait_for_first_text(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "first text\n"


def test_item_68_item_69_the_stream_ends_in_one_error_event_and_a_clean_close(outcome: Outcome) -> None:
    assert outcome.raw.whole
    events = outcome.raw.events()
    assert "content_block_delta" in [event.kind for event in events]
    assert [event.kind for event in events].index("error") == len(events) - 1
    payload = events[-1].payload
    assert payload["error"]["type"] == "api_error"
    assert payload["error"]["details"]["error_code"] == "upstream_truncated"
    assert payload["request_id"] == outcome.raw.headers["request-id"]


def test_the_log_is_told_the_same(outcome: Outcome) -> None:
    logged = outcome.gateway.wait_for_log("request ended", model=RAW_MODEL)
    assert logged["cause"] == "upstream_truncated"
    assert logged["stop_reason"] is None
    assert logged["request_id"] == outcome.raw.headers["request-id"]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_item_68_the_sdk_gave_the_text_and_then_raised_the_cause(client: Client, outcome: Outcome) -> None:
    told = outcome.told[client.name]
    assert told["texts"]
    assert told["error"]["body"]["error"]["details"]["error_code"] == "upstream_truncated"
    assert told["error"]["body"]["request_id"] == told["error"]["request_id"]


@pytest.mark.parametrize("client", PYTHON, ids=lambda client: client.name)
def test_item_68_python_raises_api_status_error(client: Client, outcome: Outcome) -> None:
    error = outcome.told[client.name]["error"]
    assert (error["class"], error["status"]) == ("APIStatusError", 200)


@pytest.mark.parametrize("client", TYPESCRIPT, ids=lambda client: client.name)
def test_item_68_typescript_raises_api_error_and_tells_the_listener(client: Client, outcome: Outcome) -> None:
    error = dict(outcome.told[client.name]["error"])
    (heard,) = error.pop("heard")
    assert heard == error
    assert error["class"] == "APIError"


def test_the_next_request_is_answered_by_a_new_process(outcome: Outcome) -> None:
    """The SDK's own retries bridge the restart."""
    with Anthropic(base_url=outcome.gateway.url, api_key=CLIENT_KEY, max_retries=20) as client:
        message = client.messages.create(
            model="claude-next", max_tokens=4, messages=[{"role": "user", "content": "Say hi."}]
        )
    assert message.usage.output_tokens > 0
    assert outcome.gateway.embedded_child_pid() != outcome.killed_pid
