"""The Anthropic SDK against the mock: well-behaved answers please it, and each fault shows as it does with any server.

What it does with broken streams was measured before (reliability reference, 6.1); this holds that the mock breaks them
so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2
import pytest

from ezai.lab.mock import Mock, credential_digest, mock_upstream
from tests.lab.conftest import Run
from tests.lab.plain import KEY

ASKED: dict[str, Any] = {
    "model": "claude-test",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hi"}],
}


@asynccontextmanager
async def calling(mock: Mock, **given: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=mock.url, **given) as client:
        yield client


async def streamed(client: anthropic.AsyncAnthropic, **given: Any) -> Any:
    """The final message of a stream."""
    async with client.messages.stream(**ASKED, **given) as stream:
        async for _ in stream:
            pass
        return await stream.get_final_message()


def test_a_whole_answer_streamed_and_unary(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=3,thinking=2,tools=1") as mock, calling(mock) as client:
            message = await streamed(client, tools=[{"name": "weather", "input_schema": {"type": "object"}}])
            thinking, text, tool = message.content
            assert (thinking.thinking, thinking.signature) == ("thought 0. thought 1. ", "mock-signature-1")
            assert text.text == "0 1 2 "
            assert (tool.name, tool.input["call"]) == ("weather", 0)
            assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 9)
            unary = await client.messages.create(**ASKED)
            assert [block.type for block in unary.content] == ["thinking", "text", "tool_use"]
            assert unary._request_id == "req_mock_2"
            assert (await client.messages.count_tokens(model="m", messages=ASKED["messages"])).input_tokens > 0
            assert [model.id async for model in client.models.list()] == ["mock"]
            assert mock.journal.requests[0].header("authorization") == f"Bearer {credential_digest(KEY)}"

    run(main())


@pytest.mark.parametrize(
    "behaviour",
    [
        "slice=1",
        "line_end=crlf",
        "line_end=cr",
        "comments=100",
        "unknown_event=4",
        "unknown_delta=4",
        "huge_event=1MiB",
        "framing=close",
        "framing=length",
        "content_encoding=gzip",
        "pings=50",
        "early_hints=2",
        "cut_after=last,framing=close",
    ],
)
def test_what_is_odd_and_allowed_pleases_it(run: Run, behaviour: str) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=3,{behaviour}") as mock, calling(mock) as client:
            message = await streamed(client)
            assert message.content[0].text.endswith("0 1 2 ")
            assert len(mock.journal.requests) == 1

    run(main())


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ("end_after=0", AssertionError),
        ("unnamed", AssertionError),
        ("body=json", AssertionError),
        ("cut_after=5", httpx2.RemoteProtocolError),
        ("cut_in=5", httpx2.RemoteProtocolError),
        ("no_last_chunk", httpx2.RemoteProtocolError),
        ("chunk_junk=5", httpx2.RemoteProtocolError),
        ("reset_after=5", httpx2.ReadError),
        ("garbage=5", ValueError),
        ("error_after=0", anthropic.APIStatusError),
        ("error_after=5:api_error", anthropic.APIStatusError),
        ("index_gap=0", IndexError),
        ("drop=content_block_start", IndexError),
        ("usage=missing", AttributeError),
    ],
)
def test_what_is_broken_breaks_it_as_it_was_measured(run: Run, behaviour: str, kind: type[Exception]) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=3,{behaviour}") as mock, calling(mock) as client:
            with pytest.raises(kind):
                await streamed(client)
            assert len(mock.journal.requests) == 1

    run(main())


@pytest.mark.parametrize("behaviour", ["end_after=5", "end_in=5", "cut_in=5,framing=close", "drop=message_stop"])
def test_a_stream_that_ends_cleanly_too_early_deceives_it(run: Run, behaviour: str) -> None:
    async def main() -> None:
        async with mock_upstream(f"tokens=3,{behaviour}") as mock, calling(mock) as client:
            message = await streamed(client)
            assert message.content[0].text.startswith("0 ")

    run(main())


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (400, anthropic.BadRequestError, 1),
        (401, anthropic.AuthenticationError, 1),
        (404, anthropic.NotFoundError, 1),
        (429, anthropic.RateLimitError, 2),
        (500, anthropic.InternalServerError, 2),
        (529, anthropic.InternalServerError, 2),
    ],
)
def test_a_status_raises_its_class(run: Run, status: int, kind: type[anthropic.APIStatusError], requests: int) -> None:
    async def main() -> None:
        behaviour = f"status={status},retry_after=0.001"
        async with mock_upstream(behaviour) as mock, calling(mock, max_retries=1) as client:
            with pytest.raises(kind) as refused:
                await streamed(client)
            assert refused.value.status_code == status
            assert len(mock.journal.requests) == requests

    run(main())


def test_it_comes_again_until_it_is_served(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("status=529,retry_after=0.001,times=2,tokens=3") as mock, calling(mock) as client:
            assert (await streamed(client)).content[0].text == "0 1 2 "
            assert [record.status for record in mock.journal.requests] == [529, 529, 200]

    run(main())


def test_a_connection_that_closes_as_it_asks_is_replaced(run: Run) -> None:  # U34
    async def main() -> None:
        async with mock_upstream("tokens=1,keep_alive=race", "tokens=2") as mock:
            async with calling(mock) as client:
                await streamed(client)
                assert (await streamed(client)).content[0].text == "0 1 "
            assert mock.journal.connections[0].raced == 1
            assert len(mock.journal.requests) == 2

    run(main())


def test_it_leaves_in_the_middle(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("endless,rate=1000") as mock, calling(mock) as client:
            async with client.messages.stream(**ASKED) as stream:
                async for text in stream.text_stream:
                    if text == "5 ":
                        break
            record = await mock.journal.ended()
            assert record.ended in {"peer closed", "peer reset"}
            assert record.tokens > 5

    run(main())
