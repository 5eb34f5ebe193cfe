"""A client that leaves, at any moment, leaves nothing running behind it. Conformance item 71.

The model has one slot here, and whoever leaves had asked for more than a minute of answer: the next client is
answered only because the slot was freed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anthropic import Anthropic

from tests.canary import CLIENT_KEY
from tests.gateway_process import GatewayProcess
from tests.sdk.prompts import endless, pass_through
from tests.sdk.wire import RawClient

TOKENS = 8000
FEW_TOKENS = 600


@pytest.fixture
def next_client(one_slot_gateway: GatewayProcess) -> Iterator[Anthropic]:
    """Its one attempt is given up long before the answer of who left would have ended."""
    with Anthropic(base_url=one_slot_gateway.url, api_key=CLIENT_KEY, max_retries=0, timeout=15) as client:
        yield client


def assert_answered(client: Anthropic) -> None:
    message = client.messages.create(
        model="claude-next", max_tokens=1, messages=[{"role": "user", "content": "Say hi."}]
    )
    assert message.usage.output_tokens > 0


def test_item_71_leaving_in_mid_stream_frees_the_slot(one_slot_gateway: GatewayProcess, next_client: Anthropic) -> None:
    model = "claude-left-in-mid-stream"
    with RawClient(one_slot_gateway.url, "/v1/messages", endless(model, TOKENS, stream=True)) as leaving:
        leaving.read_texts(1)
    assert_answered(next_client)
    logged = one_slot_gateway.wait_for_log("request ended", model=model)
    assert logged["cause"] == "client_left"
    assert 0 < logged["output_tokens"] < FEW_TOKENS


def test_item_71_leaving_before_the_first_byte_frees_the_place_in_the_queue(
    one_slot_gateway: GatewayProcess, next_client: Anthropic
) -> None:
    """The slot is taken, so that nothing can come for who waits behind; then both leave, the waiting one first."""
    ahead, behind = "claude-ahead", "claude-left-before-the-first-byte"
    url = one_slot_gateway.url
    with RawClient(url, "/v1/messages", endless(ahead, TOKENS, stream=True)) as taking:
        taking.read_texts(1)
        with RawClient(url, "/v1/messages", endless(behind, TOKENS, stream=True)):
            pass_through(one_slot_gateway.url)
        logged = one_slot_gateway.wait_for_log("request ended", model=behind)
        assert (logged["cause"], logged["output_tokens"]) == ("client_left", 0)
        taking.read_texts(5)  # the other one's leaving is nothing to it
    assert_answered(next_client)


def test_item_71_leaving_a_unary_call_frees_the_slot(one_slot_gateway: GatewayProcess, next_client: Anthropic) -> None:
    model = "claude-left-a-unary-call"
    with RawClient(one_slot_gateway.url, "/v1/messages", endless(model, TOKENS, stream=False)):
        pass_through(one_slot_gateway.url)
    assert_answered(next_client)
    logged = one_slot_gateway.wait_for_log("request ended", model=model)
    assert logged["cause"] == "client_left"
    assert logged["output_tokens"] < FEW_TOKENS
