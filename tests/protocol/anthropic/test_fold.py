"""A stream folded into its message: as both SDKs would."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from hypothesis import given

from ezai.errors import IllegalStream, UpstreamTruncated
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.answers import blank_message, final_usage
from ezai.protocol.anthropic.events import MessagesEvent, read_event
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.usage import Usage
from tests.properties.strategies import legal_streams

START = events.message_start(blank_message("msg_1", "m", Usage(input_tokens=3)))
END = [events.message_delta("end_turn", None, final_usage(Usage(3, 0, 0, 9))), events.message_stop()]


def by_the_sdk(stream: list[MessagesEvent]) -> dict[str, Any]:
    """What the newest Python SDK makes of the same events, by its public interface."""
    wire = b"".join(event.wire() for event in stream)
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=wire))
    with (
        Anthropic(api_key="k", base_url="http://sdk", http_client=httpx2.Client(transport=transport)) as client,
        client.messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "Hi"}]) as message,
    ):
        return message.get_final_message().to_dict(exclude_unset=False)


@given(legal_streams())
def test_fold_equals_the_sdks_accumulator(stream: list[MessagesEvent]) -> None:
    folded, theirs = fold(stream), by_the_sdk(stream)
    for name in ("id", "model", "role", "stop_reason", "stop_sequence"):
        assert folded[name] == theirs[name]
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert folded["usage"][name] == theirs["usage"][name]
    assert len(folded["content"]) == len(theirs["content"])
    for ours, other in zip(folded["content"], theirs["content"], strict=True):
        assert ours == {name: other[name] for name in ours}


@given(legal_streams())
def test_fold_of_the_bytes_is_fold_of_the_events(stream: list[MessagesEvent]) -> None:
    assert fold(read_event(event.wire()) for event in stream) == fold(stream)


def test_fold_changes_no_event() -> None:
    stream = [START, events.block_start(0, {"type": "text", "text": ""}), events.text_delta(0, "a"),
              events.block_stop(0), *END]  # fmt: skip
    before = [repr(event.payload) for event in stream]
    assert fold(stream) == fold(stream)
    assert [repr(event.payload) for event in stream] == before


def test_tool_input_is_joined() -> None:
    tool = events.block_start(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})
    pieces = [events.input_json_delta(0, piece) for piece in ('{"a"', ":1", "}")]
    assert fold([START, tool, *pieces, events.block_stop(0), *END])["content"][0]["input"] == {"a": 1}
    assert fold([START, tool, events.block_stop(0), *END])["content"][0]["input"] == {}


def test_tool_input_that_is_no_json_is_told() -> None:
    tool = events.block_start(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})
    with pytest.raises(IllegalStream):
        fold([START, tool, events.input_json_delta(0, "{a"), events.block_stop(0), *END])


def test_tool_input_that_was_cut_off_is_what_was_told() -> None:
    tool = events.block_start(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}})
    stream = [START, tool, events.input_json_delta(0, '{"a":[1,"b'), events.block_stop(0), *END]
    assert fold(stream)["content"][0]["input"] == {"a": [1]} == by_the_sdk(stream)["content"][0]["input"]


def test_citations_and_signatures() -> None:
    def delta(fields: bytes) -> MessagesEvent:
        data = b'{"type":"content_block_delta","index":0,"delta":%b}' % fields
        return read_event(b"event: content_block_delta\ndata: %b\n\n" % data)

    text = events.block_start(0, {"type": "text", "text": "", "citations": None})
    cited = delta(b'{"type":"citations_delta","citation":{"cited_text":"x"}}')
    assert fold([START, text, cited, events.block_stop(0), *END])["content"][0]["citations"] == [{"cited_text": "x"}]
    thinking = events.block_start(0, {"type": "thinking", "thinking": "", "signature": ""})
    signed = delta(b'{"type":"signature_delta","signature":"s"}')
    assert fold([START, thinking, signed, events.block_stop(0), *END])["content"][0]["signature"] == "s"


def test_null_usage_keeps_the_earlier_value() -> None:
    usage = {"input_tokens": None, "output_tokens": 9}
    message = fold([START, events.message_delta("end_turn", None, usage), events.message_stop()])
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (3, 9)


def test_what_has_not_told_its_end_is_no_message() -> None:
    with pytest.raises(UpstreamTruncated):
        fold([START])
    with pytest.raises(UpstreamTruncated):
        fold([])
