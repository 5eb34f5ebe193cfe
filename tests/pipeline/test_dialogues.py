"""The walk of a request as dialogues: what the upstream says, what the client gets, what is recorded."""

from __future__ import annotations

import msgspec
import pytest

from ezai.errors import Draining, UpstreamTruncated, UpstreamUnreachable
from ezai.pipeline.waiting import Waiter
from ezai.ports import Timeouts
from tests.pipeline.fakes import (
    ANTHROPIC,
    DONE,
    JSON,
    Dialogue,
    chunk,
    usage_chunk,
)

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_9","type":"message",'
    b'"role":"assistant","model":"real","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":7,"output_tokens":1}}}\n\n'
)
OPEN = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
)
HI = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hi"}}\n\n'
)
CLOSE = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
DELTA = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
    b'"stop_sequence":null},"usage":{"output_tokens":5}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


# A whole answer.


def test_transform_relays_each_token_as_it_comes() -> None:
    with Dialogue() as talk:
        assert talk.status() is None
        talk.upstream_answers()
        assert talk.status() is None, "the head waits for the first event"
        talk.upstream_says(chunk())
        assert talk.status() == 200
        talk.client_gets("message_start")
        talk.upstream_says(chunk("Hel"))
        talk.client_gets("content_block_start", ("text", "Hel"))
        talk.upstream_says(chunk("lo"))
        talk.client_gets(("text", "lo"))
        talk.upstream_says(chunk(finish="stop"))
        talk.client_gets("content_block_stop")
        talk.upstream_says(usage_chunk(12, 2, cached=4) + DONE)
        talk.client_gets(("message_delta", "end_turn"), "message_stop")
        assert talk.client.finished
        usage = talk.ended("finished").end.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (8, 4, 2)
        assert talk.ledger.settlements[0].end.usage_source == "upstream"
        assert talk.upstream.exchange is not None
        assert talk.upstream.exchange.released, "the connection may be used again"


def test_tap_hands_on_the_bytes() -> None:
    odd = b': note\n\nevent: future_thing\ndata: {"type":"future_thing", "x" : [1,2]}\n\n'
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        for piece in (START, OPEN + odd + HI, CLOSE, DELTA):
            talk.upstream_says(piece)
            talk.client_gets_bytes(piece)
        talk.upstream_says(STOP[:20])
        talk.client_gets_bytes(b"")
        talk.upstream_says(STOP[20:])
        talk.client_gets_bytes(STOP)
        end = talk.ended("finished").end
        assert (end.usage.input_tokens, end.usage.output_tokens, end.stop_reason) == (7, 5, "end_turn")


def test_tap_asks_with_the_clients_own_bytes() -> None:
    with Dialogue(ANTHROPIC) as talk:
        assert talk.upstream.request.body == talk.body
        talk.client_leaves()


def test_unary_transform_is_the_fold_of_its_stream() -> None:
    with Dialogue(stream=False) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk(), chunk("Hel"), chunk("lo"), chunk(finish="length"), usage_chunk(3, 2))
        assert talk.status() is None
        talk.upstream_says(DONE)
        message = talk.client_gets_json(200)
        assert message["content"] == [{"type": "text", "text": "Hello"}]
        assert (message["stop_reason"], message["model"], message["usage"]["output_tokens"]) == ("max_tokens", "m", 2)
        talk.ended("finished")


def test_unary_tap_hands_on_the_body() -> None:
    body = b'{"type" : "message","content":[],"usage":{"input_tokens":3,"output_tokens":4},"stop_reason":"end_turn"}'
    with Dialogue(ANTHROPIC, stream=False) as talk:
        talk.upstream_answers(headers=JSON)
        talk.upstream_says(body[:10], body[10:])
        talk.upstream_ends()
        assert talk.status() == 200
        talk.client_gets_bytes(body)
        assert talk.ended("finished").end.usage.output_tokens == 4


def test_settled_before_the_last_bytes_go_out() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("x"), chunk(finish="stop"))
        talk.client_stops_reading()
        talk.upstream_says(DONE)
        talk.ended("finished")  # though the client has not taken the last event yet
        talk.client_reads_again()
        talk.client_gets("message_start", "content_block_start", "text", "content_block_stop", "message_delta",
                         "message_stop")  # fmt: skip


def test_the_last_bytes_wait_until_the_record_is_safe() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("x"), chunk(finish="stop"))
        talk.client_gets("message_start", "content_block_start", "text", "content_block_stop")
        talk.ledger.held = True
        talk.upstream_says(DONE)
        talk.client_gets()
        talk.ledger.let_go()
        talk._settle()
        talk.client_gets("message_delta", "message_stop")


# Before the answer has begun.


def test_refusal_keeps_its_status() -> None:
    with Dialogue() as talk:
        talk.upstream_answers(429, headers=(*JSON, (b"retry-after", b"7")))
        talk.upstream_says(b'{"error":{"message":"slow down","type":"rate_limit"}}')
        talk.upstream_ends()
        error = talk.client_gets_json(429)
        assert error["error"] == {
            "type": "rate_limit_error",
            "message": "slow down",
            "details": {"error_code": "upstream_error"},
        }
        assert error["request_id"] == "req_1"
        assert talk.client.head is not None
        assert (b"retry-after", b"7") in talk.client.head.headers
        talk.ended("upstream_error")


def test_anthropic_refusal_passes_with_our_request_id() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"no","x":[1, 2]},"request_id":"req_u"}'
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers(400, headers=JSON)
        talk.upstream_says(body)
        talk.upstream_ends()
        assert talk.status() == 400
        told = body.replace(b"req_u", b"req_1")
        talk.client_gets_bytes(told.replace(b"[1, 2]", b'[1, 2],"details":{"error_code":"upstream_error"}'))
        talk.ended("upstream_error")


def test_error_as_first_event_is_a_status_not_a_stream() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Busy"}}\n\n'
        )
        assert talk.client_gets_json(529)["error"]["type"] == "overloaded_error"
        talk.ended("upstream_error")


def test_unreachable_upstream() -> None:
    with Dialogue() as talk:
        talk.upstream_fails(UpstreamUnreachable("The upstream could not be reached."))
        assert talk.client_gets_json(502)["error"]["details"] == {"error_code": "upstream_unreachable"}
        talk.ended("upstream_unreachable")


def test_stream_with_another_content_type_is_refused() -> None:
    with Dialogue() as talk:
        talk.upstream_answers(200, headers=((b"content-type", b"text/html"),))
        talk.upstream_ends()
        talk.client_gets_json(502)
        talk.ended("upstream_malformed")
        assert talk.upstream.has_stopped()


def test_unknown_model_costs_nothing() -> None:
    with Dialogue() as talk:
        talk.upstream_fails(UpstreamUnreachable("x"))
        talk.client_gets_json(502)
    assert not [intent for intent in talk.ledger.intents if intent.requested_model != "m"]


# Silence.


def test_commit_after_silence_then_pings_then_the_answer() -> None:
    with Dialogue() as talk:
        talk.passes(9.75)
        assert talk.status() is None
        talk.passes(0.25)
        assert talk.status() == 200
        talk.client_gets()
        talk.passes(10)
        talk.client_gets("ping")
        talk.upstream_answers()
        talk.upstream_says(chunk("late"))
        talk.client_gets("message_start", "content_block_start", ("text", "late"))
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("content_block_stop", "message_delta", "message_stop")
        talk.ended("finished")


def test_refusal_after_commit_is_one_error_event() -> None:
    with Dialogue() as talk:
        talk.passes(10)
        talk.upstream_answers(503)
        talk.upstream_says(b'{"error":"busy"}')
        talk.upstream_ends()
        talk.client_gets(("error", "upstream_error", "overloaded_error"))
        assert talk.client.finished
        talk.ended("upstream_error")


def test_a_refusal_behind_a_ping_that_is_not_taken_is_settled_and_let_go_at_once() -> None:
    with Dialogue() as talk:
        talk.client_stops_reading()
        talk.passes(20)
        talk.upstream_refuses(503)
        (settled,) = talk.ledger.settlements
        assert settled.end.cause == "upstream_error"
        assert talk.upstream.is_over
        talk.client_reads_again()
        talk.client_gets("ping", ("error", "upstream_error", "overloaded_error"))
        talk.ended("upstream_error")


def test_silence_inside_a_block_is_kept_alive_by_empty_deltas() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk())
        talk.client_gets("message_start")
        talk.passes(10)
        talk.client_gets("ping")
        talk.upstream_says(chunk("a"))
        talk.client_gets("content_block_start", ("text", "a"))
        talk.passes(20)
        talk.client_gets(("text", ""), ("text", ""))
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("content_block_stop", "message_delta", "message_stop")
        talk.ended("finished")


def test_no_keep_alive_while_events_flow() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("0"))
        talk.client_gets("message_start", "content_block_start", ("text", "0"))
        for second in range(1, 30):
            talk.passes(1)
            talk.upstream_says(chunk(str(second)))
            talk.client_gets(("text", str(second)))
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("content_block_stop", "message_delta", "message_stop")


def test_response_headers_timeout() -> None:
    with Dialogue(stream=False, timeouts=Timeouts(response_headers=5)) as talk:
        talk.passes(5)
        assert talk.client_gets_json(504)["error"]["type"] == "timeout_error"
        talk.ended("upstream_timeout")
        assert talk.upstream.has_stopped()


def test_first_event_timeout() -> None:
    with Dialogue(timeouts=Timeouts(first_event=5)) as talk:
        talk.upstream_answers()
        talk.passes(5)
        talk.client_gets_json(504)
        talk.ended("upstream_timeout")
        assert talk.upstream.has_stopped()


def test_stall_in_mid_stream_is_told() -> None:
    with Dialogue(timeouts=Timeouts(idle=5)) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", ("text", "a"))
        talk.passes(4.75)
        talk.client_gets()
        talk.passes(0.25)
        talk.client_gets(("error", "upstream_stalled", "timeout_error"))
        end = talk.ended("upstream_stalled").end
        assert (end.usage.output_tokens, end.usage_source) == (1, "estimated")
        assert talk.upstream.has_stopped()


def test_half_an_event_is_life_from_when_it_came() -> None:
    with Dialogue(timeouts=Timeouts(idle=5)) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", ("text", "a"))
        talk.passes(3)
        talk.upstream_says(chunk("b")[:-1])
        talk.passes(4.75)
        talk.client_gets()
        talk.passes(0.25)
        talk.client_gets(("error", "upstream_stalled", "timeout_error"))


def test_the_clients_slowness_is_no_silence_of_the_upstream() -> None:
    with Dialogue(timeouts=Timeouts(idle=60)) as talk:
        talk.upstream_answers()
        talk.client_stops_reading()
        talk.upstream_says(chunk("Hi"))
        talk.passes(100)
        talk.client_reads_again()
        talk.passes(9)
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"))
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("content_block_stop", ("message_delta", "end_turn"), "message_stop")


def test_an_upstream_is_held_while_there_is_no_room_for_more() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("Hi"))
        talk.client_gets("message_start", "content_block_start", ("text", "Hi"))
        talk.client_stops_reading()
        talk.upstream_says(chunk(" you"))
        talk.client_gets(("text", " you"))
        assert talk.upstream.exchange is not None
        assert talk.upstream.exchange.held is (talk.client.pushed > 0), "who is sent to by waiting reads no further"
        talk.client_reads_again()
        assert not talk.upstream.exchange.held
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("content_block_stop", ("message_delta", "end_turn"), "message_stop")


def test_comments_of_the_upstream_count_as_life_but_feed_nobody() -> None:
    with Dialogue(timeouts=Timeouts(idle=5)) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", ("text", "a"))
        for _ in range(4):
            talk.passes(3)
            talk.upstream_says(b": still here\n\n")
        talk.client_gets(("text", ""))
        talk.upstream_says(chunk(finish="stop") + DONE)
        talk.client_gets("content_block_stop", "message_delta", "message_stop")


def test_total_time_caps_a_drip() -> None:
    with Dialogue(timeouts=Timeouts(total=5)) as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", ("text", "a"))
        for _ in range(4):
            talk.passes(1)
            talk.upstream_says(chunk("."))
        talk.client_gets(*[("text", ".")] * 4)
        talk.passes(1)
        talk.client_gets(("error", "upstream_timeout", "timeout_error"))
        talk.ended("upstream_timeout")


# Broken streams.


@pytest.mark.parametrize("broken", [None, UpstreamTruncated("gone")], ids=["clean EOF", "reset"])
@pytest.mark.parametrize("last", [b"", b'data: {"cho'], ids=["between events", "inside an event"])
def test_a_cut_stream_never_looks_finished(broken: UpstreamTruncated | None, last: bytes) -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", ("text", "a"))
        if last:
            talk.upstream_says(last)
        talk.upstream_ends(broken)
        talk.client_gets(("error", "upstream_truncated", "api_error"))
        assert talk.client.finished, "after whole events and the error, a clean close"
        talk.ended("upstream_truncated")


def test_a_reset_after_the_last_event_lost_nothing() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"), chunk(finish="stop"))
        talk.upstream_ends(UpstreamTruncated("reset"))
        talk.client_gets("message_start", "content_block_start", "text", "content_block_stop", "message_delta",
                         "message_stop")  # fmt: skip
        talk.ended("finished")


def test_events_before_garbage_arrive() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a") + b"data: {nonsense\n\n" + chunk("b"))
        talk.client_gets("message_start", "content_block_start", ("text", "a"), ("error", "upstream_malformed"))
        talk.ended("upstream_malformed")


def test_an_error_in_mid_stream_keeps_its_type() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"), b'data: {"error":{"message":"Busy","code":529}}\n\n')
        talk.client_gets(
            "message_start", "content_block_start", "text", ("error", "upstream_error", "overloaded_error")
        )
        talk.ended("upstream_error")


def test_an_illegal_order_ends_the_tap() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + HI)
        talk.client_gets("message_start", ("error", "illegal_stream", "api_error"))
        talk.ended("illegal_stream")
        assert talk.upstream.has_stopped()


def test_nothing_follows_message_stop() -> None:
    with Dialogue(ANTHROPIC) as talk:
        talk.upstream_answers()
        talk.upstream_says(START + DELTA + STOP + START)
        talk.client_gets("message_start", "message_delta", "message_stop")
        talk.ended("finished")


# Leaving.


def test_leaving_before_the_upstream_answers() -> None:
    with Dialogue() as talk:
        talk.client_leaves()
        assert talk.upstream.cancelled
        talk.ended("client_left")


def test_leaving_before_the_first_event() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.client_leaves()
        assert talk.upstream.has_stopped()
        assert talk.status() is None
        talk.ended("client_left")


def test_leaving_in_mid_stream() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", "text")
        talk.client_leaves()
        assert talk.upstream.has_stopped()
        end = talk.ended("client_left").end
        assert (end.usage.output_tokens, end.usage_source) == (1, "estimated")


def test_leaving_after_commit_while_the_upstream_is_silent() -> None:
    with Dialogue() as talk:
        talk.passes(12)
        talk.client_leaves()
        assert talk.upstream.cancelled
        talk.ended("client_left")


def test_leaving_while_a_slow_reader_is_written_to() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.client_stops_reading()
        talk.upstream_says(chunk("a"))
        talk.client_leaves()
        assert not talk.upstream.has_stopped()
        talk.client_reads_again()  # as a transport does when it is closed
        talk.client_gets("message_start", "content_block_start", "text")
        assert talk.upstream.has_stopped()
        talk.ended("client_left")


@pytest.mark.parametrize("answered", [False, True])
def test_leaving_a_unary_call(answered: bool) -> None:
    with Dialogue(stream=False) as talk:
        if answered:
            talk.upstream_answers()
            talk.upstream_says(chunk("a"))
        talk.client_leaves()
        assert talk.upstream.has_stopped()
        assert talk.status() is None
        talk.ended("client_left")


def test_cancelling_the_request_task_settles_all_the_same() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", "text")
        talk.run.cancel()
        talk._settle()
        assert talk.upstream.has_stopped()
        talk.ended("client_left")
        talk.run = talk.loop.create_task(_nothing())
        talk._settle()


async def _nothing() -> None:
    pass


# Draining.


def test_draining_ends_a_stream_in_one_error_event() -> None:
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.client_gets("message_start", "content_block_start", "text")
        talk.gateway_drains()
        talk.client_gets(("error", "draining", "overloaded_error"))
        assert talk.client.finished
        assert talk.upstream.has_stopped()
        talk.ended("draining")


def test_draining_refuses_before_the_answer() -> None:
    with Dialogue() as talk:
        talk.gateway_drains()
        assert talk.client_gets_json(529)["error"]["type"] == "overloaded_error"
        talk.ended("draining")


def test_draining_takes_no_more() -> None:
    with Dialogue() as talk:
        talk.gateway_drains()
        talk.client_gets_json(529)
        with pytest.raises(Draining):
            talk.registry.enter(Waiter(talk.clock), streamed=True)


def test_the_end_is_one_value() -> None:
    """Client, ledger and log are told the same cause."""
    with Dialogue() as talk:
        talk.upstream_answers()
        talk.upstream_says(chunk("a"))
        talk.upstream_ends()
        told = msgspec.json.decode(talk.client.batches[-1].split(b"data: ")[1])
        assert told["error"]["details"]["error_code"] == talk.ended("upstream_truncated").end.cause
        talk.client_gets("message_start", "content_block_start", "text", "error")
