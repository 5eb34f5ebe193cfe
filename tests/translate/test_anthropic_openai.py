"""Messages in, Chat Completions out: requests, and streams in every shape that servers send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamError, UpstreamMalformed, UpstreamRefused, UpstreamTruncated
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.anthropic.fold import fold
from ezai.protocol.anthropic.order import StreamState
from ezai.protocol.anthropic.requests import read_request
from ezai.protocol.sse import SseDecoder
from ezai.translate.anthropic_openai import AnthropicToOpenAI
from ezai.translate.anthropic_openai.stream import MessagesFromChat
from ezai.translate.base import LLAMA_CPP, OPENAI_COMPATIBLE, UpstreamFacts
from ezai.translate.terms import AnswerTerms
from tests.pipeline.fakes import DONE, chunk, usage_chunk
from tests.properties.strategies import chat_streams, cut, mutated

DEEP = b"[" * 5000 + b"]" * 5000


def asked(facts: UpstreamFacts = OPENAI_COMPATIBLE, **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}
    request = AnthropicToOpenAI("up", facts).request(read_request(msgspec.json.encode(body)))
    decoded: dict[str, Any] = msgspec.json.decode(request.body)
    return decoded


def translated(*pieces: bytes, max_tokens: int = 9, **terms: Any) -> list[MessagesEvent]:
    """The events of a whole stream, checked by the table."""
    stream = MessagesFromChat("msg_1", "m", AnswerTerms(max_tokens=max_tokens, **terms))
    decoder, state = SseDecoder(), StreamState()
    out: list[MessagesEvent] = []
    for piece in pieces:
        for frame in decoder.feed(piece):
            out += stream.feed(stream.read(frame))
    out += stream.close()
    for event in out:
        state.process(event)
    assert state.over
    assert fold(out)["usage"]["output_tokens"] == stream.usage.output_tokens
    return out


def message(*pieces: bytes, max_tokens: int = 9) -> dict[str, Any]:
    return fold(translated(*pieces, max_tokens=max_tokens))


# Requests.


def test_the_plain_request() -> None:
    assert asked() == {
        "model": "up",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_system_string_and_blocks() -> None:
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]
    assert asked(system="a\n\nb")["messages"][0] == {"role": "system", "content": "a\n\nb"}
    assert asked(system=blocks)["messages"] == asked(system="a\n\nb")["messages"]
    assert asked(system="")["messages"][0]["role"] == "user"


def test_content_string_and_blocks_are_the_same() -> None:
    as_blocks = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert asked(messages=as_blocks) == asked()


def test_turns_of_one_role_are_merged() -> None:
    turns = [("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
    messages = asked(messages=[{"role": role, "content": text} for role, text in turns])["messages"]
    assert [(turn["role"], turn["content"]) for turn in messages] == [
        ("user", "a\n\nb"),
        ("assistant", "c"),
        ("user", "d"),
    ]


def test_a_system_message_in_mid_conversation_is_folded_into_the_users_turn() -> None:
    turns = [("user", "a"), ("system", "be brief"), ("assistant", "c"), ("user", "d")]
    messages = asked(messages=[{"role": role, "content": text} for role, text in turns])["messages"]
    assert [turn["role"] for turn in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"] == "a\n\n<system-reminder>\nbe brief\n</system-reminder>"


def test_a_trailing_assistant_turn_is_continued() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "1, 2,"}]
    assert asked(messages=messages)["messages"][-1] == {"role": "assistant", "content": "1, 2,"}


def test_sampling_and_stop() -> None:
    fields: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["x", "y"]}
    body = asked(LLAMA_CPP, **fields)
    assert (body["temperature"], body["top_p"], body["top_k"], body["stop"]) == (0.5, 0.9, 40, ["x", "y"])
    assert "top_k" not in asked(**fields)
    assert not {"temperature", "top_p", "top_k", "stop"} & set(asked())


def test_item_35_more_stop_sequences_than_the_upstream_takes_are_all_looked_for_here() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    request = read_request(msgspec.json.encode(body | {"stop_sequences": list("abcde")}))
    made = AnthropicToOpenAI("up", OPENAI_COMPATIBLE).request(request)
    assert msgspec.json.decode(made.body)["stop"] == list("abcd")
    assert made.terms.stop_sequences == tuple("abcde")
    made = AnthropicToOpenAI("up", LLAMA_CPP).request(request)
    assert (msgspec.json.decode(made.body)["stop"], made.terms.stop_sequences) == (list("abcde"), ())


def test_unknown_fields_do_not_reach_the_upstream() -> None:
    assert asked(context_management={}, metadata={"x": "x"}, speed="fast", service_tier="auto") == asked()


def test_counting_asks_for_the_same_prompt_and_no_answer() -> None:
    body = {"model": "m", "max_tokens": 9, "system": "s", "messages": [{"role": "user", "content": "Hi"}]}
    request = read_request(msgspec.json.encode(body))
    counting = AnthropicToOpenAI("up", LLAMA_CPP).count_request(request)
    assert counting.path == "/chat/completions/input_tokens"
    assert msgspec.json.decode(counting.body) == {
        "model": "up",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}],
    }


# Streams.


def test_text() -> None:
    told = message(chunk(), chunk("Hel"), chunk("lo"), chunk(finish="stop"), usage_chunk(50, 9, cached=40), DONE)
    assert told["content"] == [{"type": "text", "text": "Hello"}]
    assert (told["id"], told["model"], told["stop_reason"], told["stop_sequence"]) == ("msg_1", "m", "end_turn", None)
    usage = told["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (10, 40, 9)
    assert usage["cache_creation_input_tokens"] == 0


def test_an_empty_answer_has_no_block() -> None:
    assert message(chunk(), chunk(""), chunk(finish="stop"), DONE)["content"] == []


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "refusal"), ("something_new", "end_turn")],
)
def test_finish_reasons(finish: str, reason: str) -> None:
    assert message(chunk("a"), chunk(finish=finish), DONE)["stop_reason"] == reason


def test_the_stop_string_is_reported_where_the_upstream_names_it() -> None:
    by_vllm = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"END"}]}\n\n'
    by_llama_cpp = chunk(finish="stop", __verbose={"stopping_word": "END"})
    for last in (by_vllm, by_llama_cpp):
        told = message(chunk("a"), last, DONE)
        assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", "END")


def test_a_stop_token_is_no_stop_string() -> None:
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":128009}]}\n\n'
    assert message(chunk("a"), last, DONE)["stop_reason"] == "end_turn"
    assert message(chunk("a"), chunk(finish="stop", __verbose={"stopping_word": ""}), DONE)["stop_sequence"] is None


USAGE = {"prompt_tokens": 5, "completion_tokens": 7}


@pytest.mark.parametrize(
    "pieces",
    [
        [chunk("a"), chunk(finish="stop"), usage_chunk(5, 7), DONE],
        [chunk("a"), chunk(finish="stop", usage=USAGE), DONE],
        [chunk("a", usage={"prompt_tokens": 5, "completion_tokens": 1}), chunk(finish="stop", usage=USAGE), DONE],
        [chunk("a"), chunk(finish="stop"), b'data: {"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n', DONE],
    ],
    ids=["own chunk", "finish chunk", "every chunk", "choices absent"],
)
def test_usage_wherever_it_stands(pieces: list[bytes]) -> None:
    usage = message(*pieces)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (5, 7)


def test_without_usage_the_pieces_are_counted() -> None:
    assert message(chunk("a"), chunk("b"), chunk(finish="stop"), DONE)["usage"]["output_tokens"] == 2


def test_the_prompts_size_is_told_at_the_start_where_the_upstream_tells_it() -> None:
    first = chunk(prompt_progress={"total": 38, "cache": 30, "processed": 30})
    start = translated(first, chunk("a"), chunk(finish="stop"), DONE)[0].payload
    usage = start["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (8, 30)


def test_max_tokens_zero_warms_the_cache_and_says_nothing() -> None:
    assert asked(max_tokens=0)["max_tokens"] == 1
    told = message(chunk("I"), chunk(finish="length"), usage_chunk(5, 1), DONE, max_tokens=0)
    assert (told["content"], told["stop_reason"]) == ([], "max_tokens")


def test_a_missing_done_mark_is_no_failure_after_the_finish() -> None:
    assert message(chunk("a"), chunk(finish="stop"))["stop_reason"] == "end_turn"


def test_a_done_mark_without_a_finish_ended_the_turn() -> None:
    assert message(chunk("a"), DONE)["stop_reason"] == "end_turn"


def test_an_end_without_a_finish_is_a_failure() -> None:
    with pytest.raises(UpstreamTruncated):
        translated(chunk("a"))


def test_nothing_follows_the_end() -> None:
    whole = [chunk("a"), chunk(finish="stop"), DONE]
    assert [event.kind for event in translated(*whole, DONE)] == [event.kind for event in translated(*whole)]


@pytest.mark.parametrize(
    ("error", "status", "wire_type"),
    [
        ({"message": "Busy", "type": "overloaded_error"}, 529, "overloaded_error"),
        ({"message": "Slow", "code": 429}, 429, "rate_limit_error"),
        ({"message": "Slow", "code": "429"}, 429, "rate_limit_error"),
        ({"message": "Slow", "type": "tokens", "code": "rate_limit_exceeded"}, 429, "rate_limit_error"),
        ({"message": "Broken", "code": "42901"}, 502, "api_error"),
        ({"message": None, "type": None, "code": None}, 502, "api_error"),
        ({"message": ["x"], "type": 7, "code": {"a": 1}}, 502, "api_error"),
        ({}, 502, "api_error"),
        (["Broken"], 502, "api_error"),
        (True, 502, "api_error"),
        ({"message": "Broken"}, 502, "api_error"),
        ("Broken", 502, "api_error"),
    ],
)
def test_an_error_in_the_stream(error: object, status: int, wire_type: str) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        translated(chunk("a"), b"data: " + msgspec.json.encode({"error": error}) + b"\n\n")
    assert (caught.value.http_status, caught.value.error_type) == (status, wire_type)


@pytest.mark.parametrize(
    "frame",
    [
        b'event: error\ndata: {"message":"Busy"}\n\n',
        b'event: error\ndata: {"error":{"message":"Busy"}}\n\n',
        b'data: {"object":"error","message":"Busy","type":"BadRequestError","code":400}\n\n',  # older vLLM
        b'data: {"error":{"object":"error","message":"Busy","code":500}}\n\n',  # SGLang
        b'error: {"code":500,"message":"Busy","type":"server_error"}\n\n',  # older llama.cpp
        b'data: [{"error":{"code":503,"message":"Busy","status":"UNAVAILABLE"}}]\n\n',  # Gemini
        b'data: {"error":"Busy","error_type":"overloaded"}\n\n',  # TGI
        b'data: {"error":{"code":"server_error","message":"Busy"},"choices":[{"index":0,"delta":{"content":""},'
        b'"finish_reason":"error"}]}\n\n',  # OpenRouter
    ],
)
def test_an_error_in_the_shape_of_any_server(frame: bytes) -> None:
    with pytest.raises(UpstreamRefused, match="Busy"):
        translated(chunk("a"), frame, DONE)
    with pytest.raises(UpstreamRefused, match="Busy"):
        translated(chunk("a"), frame.replace(b"\n", b"\r\n"), DONE)


@pytest.mark.parametrize("error", [b"null", b"false", b'""'])
def test_no_error_is_none(error: bytes) -> None:
    frame = b'data: {"error":%b,"choices":[{"delta":{"content":"Hi"}}]}\n\n' % error
    assert message(frame, chunk(finish="stop"), DONE)["content"] == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize("frame", [b"data:\n\n", b"data: \n\n", b": alive\n\n", b"id: 7\n\n", b"retry: 5\r\n\r\n"])
def test_a_frame_without_data_is_no_event(frame: bytes) -> None:
    assert message(frame, chunk("Hi"), frame, chunk(finish="stop"), DONE)["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{"a":%b}}}]}}]}' % DEEP,
        DEEP,
        b'{"object":"error","x":%b}' % DEEP,
        b'{"choices":5,"x":%b}' % DEEP,
        b'{"x":"\\ud83d","y":%b}' % DEEP,
        b"nonsense",
        b"[]",
        b'{"choices":7}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b"\xff",
    ],
)
def test_a_chunk_that_is_none(data: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        translated(b"data: " + data + b"\n\n")


@pytest.mark.parametrize("text", ["\n\nevent: message_stop\ndata: {}\n\n", "\r", "\u2028", "\x00", "é😀", "\x85", '"'])
def test_text_of_the_model_cannot_leave_its_string(text: str) -> None:
    events = translated(chunk(text), chunk(finish="stop"), DONE)
    wire = b"".join(event.wire() for event in events)
    assert len(SseDecoder().feed(wire)) == len(events)
    assert fold(events)["content"][0]["text"] == text


@given(st.data())
def test_any_chunking_gives_the_same_events(data: st.DataObject) -> None:
    stream = data.draw(chat_streams())
    whole = [event.wire() for event in translated(stream)]
    assert [event.wire() for event in translated(*data.draw(cut(stream)))] == whole


@given(st.data())
def test_mutated_bytes_give_a_legal_stream_or_a_typed_error(data: st.DataObject) -> None:
    stream = data.draw(mutated(data.draw(chat_streams())))
    try:
        translated(*data.draw(cut(stream)))
    except UpstreamError as error:
        assert error.message
