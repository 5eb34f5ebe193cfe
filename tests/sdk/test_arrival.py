"""Events reach the reader one by one, as they come to be. Conformance item 44."""

from __future__ import annotations

from tests.gateway_process import GatewayProcess
from tests.sdk.prompts import endless
from tests.sdk.wire import RawClient

TOKENS = 200
READ_TO_THE_END = 64


def test_item_44_the_first_text_is_read_before_a_tenth_of_the_answer_exists(gateway: GatewayProcess) -> None:
    """The reader leaves with the first text; what had been produced by then is in the gateway's log."""
    model = "claude-first-text"
    with RawClient(gateway.url, "/v1/messages", endless(model, TOKENS, stream=True)) as client:
        client.read_texts(1)
        assert b"message_stop" not in client.received
    logged = gateway.wait_for_log("request ended", model=model)
    assert logged["cause"] == "client_left"
    assert 0 < logged["output_tokens"] <= TOKENS / 10


def test_item_44_events_come_in_many_reads_and_whole(gateway: GatewayProcess) -> None:
    model = "claude-many-reads"
    with RawClient(gateway.url, "/v1/messages", endless(model, READ_TO_THE_END, stream=True)) as client:
        answer = client.read_to_end()
    events = answer.events()
    assert len(events) > READ_TO_THE_END
    reads_with_events = [data for data in client.reads if b"event: " in data]
    # A reader that the machine let wait finds several at once; a gateway that held them back would give a handful.
    assert len(reads_with_events) > len(events) / 4
    assert [data.count(b"event: ") for data in reads_with_events] == [
        data.count(b"data: ") for data in reads_with_events
    ]
    logged = gateway.wait_for_log("request ended", model=model)
    assert (logged["cause"], logged["output_tokens"]) == ("finished", READ_TO_THE_END)
