"""The stream client in Node.js, against a real gateway: every ending is told as the gateway meant it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ezai.config import TimeoutsConfig
from ezai.lab.mock import Ended, mock_upstream
from tests.faults.rows import FINISHED, LEFT, Row, Rows
from tests.gateway_process import clean_environment
from tests.web.node import command

PROGRAM = Path(__file__).parent / "read_stream.mjs"
WIRES = pytest.mark.parametrize("wire", ["anthropic", "openai"])


async def read(url: str, **plan: Any) -> dict[str, Any]:
    """What the client saw of one answer; see the program."""
    given = msgspec.json.encode({"model": "claude-test", **plan}).decode()
    process = await asyncio.create_subprocess_exec(
        *command(str(PROGRAM), url, given),
        env=clean_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, complaints) == (0, b"")
    seen: dict[str, Any] = msgspec.json.decode(out)
    return seen


def text_of(seen: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in seen["ending"]["message"]["content"])


@WIRES
def test_a_whole_answer(wire: str, tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("tokens=200,thinking=3")
        seen = await read(row.url)
        ending = seen["ending"]
        assert (ending["kind"], ending["canContinue"], ending["unfinished"]) == ("whole", False, [])
        assert text_of(seen) == "".join(f"{number} " for number in range(200))
        assert "".join(seen["batches"]).endswith(text_of(seen))
        assert len(seen["batches"]) < 100, "batches go by frames, not by tokens"
        assert ending["message"]["usage"]["output_tokens"] == ending["progress"]["outputTokens"]
        assert ending["progress"]["estimated"] is False
        assert ending["requestId"] == (await row.requests())[0]["id"]
        assert seen["phases"] == ["connecting", "waiting", "streaming", "ended"]
        row.ends(FINISHED)

    Rows(wire, tmp_path).play(test)


@WIRES
def test_tool_input(wire: str, tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("tokens=1,tools=2")
        seen = await read(row.url)
        calls = [block for block in seen["ending"]["message"]["content"] if block["type"] == "tool_use"]
        assert len(calls) == 2
        assert all(isinstance(call["input"], dict) and call["input"] for call in calls)
        row.ends(FINISHED)

    Rows(wire, tmp_path).play(test)


@WIRES
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("reset_after=6", "upstream_truncated"),
        ("stall_after=6", "upstream_stalled"),
        ("garbage=6", "upstream_malformed"),
    ],
)
def test_an_answer_that_breaks_off_is_partial_with_its_cause(wire: str, fault: str, cause: str, tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave(f"tokens=9,{fault}")
        ending = (await read(row.url, maxRetries=3))["ending"]
        assert (ending["kind"], ending["cause"], ending["error"]["code"]) == ("partial", "error", cause)
        assert ending["message"]["content"][0]["text"].startswith("0 1 ")
        assert (ending["unfinished"], ending["canContinue"]) == ([0], True)
        assert ending["requestId"] == (await row.requests())[0]["id"]
        row.ends(cause)

    Rows(wire, tmp_path).play(test, timeouts=TimeoutsConfig(idle=0.5))


@WIRES
def test_a_refusal_is_told(wire: str, tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("status=400,error_message=too much of it")
        ending = (await read(row.url, maxRetries=3))["ending"]
        assert (ending["kind"], ending["status"], ending["type"]) == ("refused", 400, "invalid_request_error")
        assert "too much of it" in ending["reason"]
        row.ends((await row.requests())[0]["cause"])
        assert len(await row.requests()) == 1

    Rows(wire, tmp_path).play(test)


@WIRES
@pytest.mark.parametrize("moment", ["text", "streaming"])
def test_stop_ends_the_upstream(wire: str, moment: str, tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("endless,rate=200")
        seen = await read(row.url, stop=moment)
        assert seen["ending"]["kind"] == "stopped"
        await row.upstream_is_let_go()
        assert row.record.ended in {Ended.PEER_CLOSED, Ended.PEER_RESET}
        row.ends(LEFT)

    Rows(wire, tmp_path).play(test)


def test_stop_before_the_answer_ends_the_upstream(tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("tokens=3,stall_after=message_start")
        seen = await read(row.url, stop="waiting")
        assert (seen["ending"]["kind"], seen["ending"]["canContinue"]) == ("stopped", False)
        await row.upstream_is_let_go()
        row.ends(LEFT)

    Rows("anthropic", tmp_path).play(test)


def test_a_partial_answer_is_continued_by_a_request_that_the_gateway_takes(tmp_path: Path) -> None:
    async def test(row: Row) -> None:
        row.mock.behave("tokens=9,thinking=2,end_after=12,times=1")
        seen = await read(row.url, again=True)
        assert seen["ending"]["kind"] == "whole"
        sent = msgspec.json.decode(row.record.body)
        assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant"]
        assert sent["messages"][1]["content"][0]["text"].startswith("0 1")
        assert not sent["messages"][1]["content"][-1]["text"].endswith(" ")
        row.ends("upstream_truncated", FINISHED)

    Rows("anthropic", tmp_path).play(test)


def test_a_connection_that_ends_without_a_word_is_cut() -> None:
    async def main() -> None:
        async with mock_upstream("tokens=9,cut_after=6") as mock:
            ending = (await read(mock.url))["ending"]
        assert (ending["kind"], ending["cause"], ending["canContinue"]) == ("partial", "cut", True)
        assert ending["message"]["content"][0]["text"] == "0 1 2 "

    asyncio.run(main())


def test_a_gateway_that_is_busy_for_a_while_is_asked_again() -> None:
    async def main() -> None:
        async with mock_upstream("tokens=3,status=529,retry_after=0.01,times=2") as mock:
            seen = await read(mock.url, maxRetries=3)
            assert len(mock.journal.requests) == 3
        assert (seen["ending"]["kind"], text_of(seen)) == ("whole", "0 1 2 ")
        assert seen["phases"].count("retrying") == 2

    asyncio.run(main())
