"""Conformance items 46, 52-54 and 59: tool calls of a chat completion, in every shape that servers send them.

What other gateways got wrong here, by their issue: arguments lost (litellm#25561) or held back to the end
(bifrost#2048), indexes mixed up (portkey#1275), blocks left open or opened twice (bifrost#3441, bifrost#4890,
ollama#15959, new-api#4321), ids that no later request is accepted with (claude-code-router#1808), every call in one
chunk (ollama#11633), `content_block_start` before `message_start` (CLIProxyAPI#530).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import UpstreamMalformed, UpstreamTruncated
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.translate.anthropic_openai.signed_ids import parted_id, signed_id
from tests.translate.chat_stream import DONE, Said, blocks, call, chunk, delta, message, told, translated

FINISH = delta(finish="tool_calls")


def used(*pieces: bytes, **terms: Any) -> list[tuple[str, str, Any]]:
    """The calls of a stream: id, name and input."""
    return [(block["id"], block["name"], block["input"]) for block in blocks(*pieces, FINISH, **terms)]


def partial_json(events: list[MessagesEvent]) -> list[str]:
    deltas = [event.payload["delta"] for event in events if event.kind == "content_block_delta"]
    return [fields["partial_json"] for fields in deltas if fields["type"] == "input_json_delta"]


# One call.


def test_item_52_the_block_of_a_call() -> None:
    events = translated(
        call(index=0, id="call_1", type="function", name="f", arguments=""),
        call(index=0, arguments='{"a'),
        call(index=0, arguments='": [1.0, 1e2]}'),
        FINISH,
        DONE,
    )
    assert told(events) == [
        "message_start", "+0 call_1 f", '{"a', '": [1.0, 1e2]}', "-0", "tool_use", "message_stop",
    ]  # fmt: skip
    start = events[1].payload["content_block"]
    assert start == {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    assert msgspec.json.decode("".join(partial_json(events))) == {"a": [1.0, 100.0]}


def test_item_52_arguments_are_told_as_they_come() -> None:
    # bifrost#2048: they came in one lump at the end.
    said = Said()
    assert said.says(call(index=0, id="c", name="f", arguments="")) == ["message_start", "+0 c f"]
    assert said.says(call(index=0, arguments='{"pa')) == ['{"pa']
    assert said.says(call(index=0, arguments='th":"')) == ['th":"']
    assert said.says(call(index=0, arguments='x"}')) == ['x"}', "-0"]
    assert said.says(FINISH) == []
    assert said.says(DONE) == ["tool_use", "message_stop"]


@pytest.mark.parametrize("arguments", ["", None, " \n", "{}", {}], ids=repr)
def test_item_53_empty_arguments(arguments: object) -> None:
    events = translated(call(index=0, id="c", name="f", arguments=arguments), FINISH, DONE)
    assert partial_json(events) == ["{}"]
    assert used(call(index=0, id="c", name="f", arguments=arguments)) == [("c", "f", {})]


def test_item_53_no_arguments_at_all() -> None:
    assert used(call(index=0, id="c", name="f")) == [("c", "f", {})]


def test_item_53_null_arguments_between_others() -> None:
    pieces = [call(index=0, id="c", name="f", arguments=None), call(index=0, arguments='{"a":'),
              call(index=0, arguments=None), call(index=0, arguments="1}")]  # fmt: skip
    assert used(*pieces) == [("c", "f", {"a": 1})]
    assert all(isinstance(part, str) for part in partial_json(translated(*pieces, FINISH, DONE)))


# The quirks of servers.


def test_item_54_missing_index() -> None:
    first = [call(id="a", name="f", arguments='{"x":'), call(arguments="1}")]
    second = [call(id="b", name="g", arguments=""), call(arguments="{}")]
    assert used(*first, *second) == [("a", "f", {"x": 1}), ("b", "g", {})]


def test_item_54_missing_index_of_several_at_once() -> None:
    both = call({"id": "a", "name": "f", "arguments": '{"x":1}'}, {"id": "b", "name": "f", "arguments": '{"x":2}'})
    assert used(both) == [("a", "f", {"x": 1}), ("b", "f", {"x": 2})]


def test_item_54_every_index_is_zero() -> None:
    pieces = [call(index=0, id="a", name="f", arguments='{"x":1'), call(index=0, arguments="}"),
              call(index=0, id="b", name="f", arguments='{"x":2'), call(index=0, arguments="}")]  # fmt: skip
    assert used(*pieces) == [("a", "f", {"x": 1}), ("b", "f", {"x": 2})]


def test_item_54_id_and_name_in_every_fragment() -> None:
    repeated: dict[str, Any] = {"index": 0, "id": "a", "name": "f"}
    pieces = [call(**repeated, arguments=part) for part in ("", '{"x"', ":1}", "")]
    assert used(*pieces) == [("a", "f", {"x": 1})]


def test_item_54_the_name_in_every_fragment_and_no_id() -> None:
    pieces = [call(name="f", arguments=part) for part in ('{"x"', ":1}", "")]
    (only,) = used(*pieces)
    assert only[1:] == ("f", {"x": 1})


def test_item_54_id_first_and_name_later() -> None:
    said = Said()
    assert said.says(call(index=0, id="a")) == ["message_start"]
    assert said.says(call(index=0, arguments='{"x"')) == []
    assert said.says(call(index=0, name="f")) == ["+0 a f", '{"x"']
    assert said.says(call(index=0, arguments=":1}")) == [":1}", "-0"]


def test_item_54_name_first_and_id_later() -> None:
    (only,) = used(call(index=0, name="f"), call(index=0, id="a", arguments="{}"))
    assert only[1:] == ("f", {})
    (only,) = used(call(name="f"), call(id="a", arguments="{}"))
    assert only[1:] == ("f", {})


def test_item_54_another_id_for_every_fragment() -> None:
    # vLLM did so when its template of a delta made up an id.
    pieces = [call(index=0, id=f"x{n}", **({"name": "f"} if n == 0 else {}), arguments=part)
              for n, part in enumerate(['{"x"', ":", "1}"])]  # fmt: skip
    assert used(*pieces) == [("x0", "f", {"x": 1})]


def test_item_54_arguments_all_at_once() -> None:
    assert used(call(index=0, id="a", name="f", arguments='{"x":{"y":[1,2]}}')) == [("a", "f", {"x": {"y": [1, 2]}})]


def test_item_54_arguments_as_an_object() -> None:
    pieces = [call(index=0, id="a", name="f", arguments={"x": {"y": [1, 2.50]}, "z": "é"})]
    assert used(*pieces) == [("a", "f", {"x": {"y": [1, 2.5]}, "z": "é"})]


def test_item_54_the_old_function_call() -> None:
    pieces = [delta(function_call={"name": "f", "arguments": ""}), delta(function_call={"arguments": '{"x":1}'})]
    (block,) = blocks(*pieces, delta(finish="function_call"))
    assert (block["name"], block["input"]) == ("f", {"x": 1})
    assert message(*pieces, delta(finish="function_call"), DONE)["stop_reason"] == "tool_use"


def test_item_54_interleaved_calls() -> None:
    said = Said()
    said.says(call(index=0, id="a", name="f", arguments=""))
    assert said.says(call(index=1, id="b", name="g", arguments="")) == []
    assert said.says(call(index=0, arguments='{"x":')) == ['{"x":']
    assert said.says(call(index=1, arguments='{"y":')) == []
    assert said.says(call(index=0, arguments="1}")) == ["1}", "-0", "+1 b g", '{"y":']
    assert said.says(call(index=1, arguments="2}")) == ["2}", "-1"]


def test_item_54_a_call_without_arguments_before_another() -> None:
    pieces = [call(index=0, id="a", name="f"), call(index=1, id="b", name="g", arguments='{"y":2}')]
    assert used(*pieces) == [("a", "f", {}), ("b", "g", {"y": 2})]


def test_item_54_the_second_streams_when_the_first_is_whole() -> None:
    said = Said()
    said.says(call(index=0, id="a", name="f", arguments="{}"))
    assert said.says(call(index=1, id="b", name="g", arguments='{"y"')) == ["+1 b g", '{"y"']
    assert said.says(call(index=1, arguments=":1")) == [":1"]


def test_item_54_missing_ids_are_made() -> None:
    (first, second) = used(call(index=0, name="f", arguments="{}"), call(index=1, name="f", arguments="{}"))
    assert re.fullmatch("toolu_[0-9A-Za-z]{24}", first[0])
    assert re.fullmatch("toolu_[0-9A-Za-z]{24}", second[0])
    assert first[0] != second[0]
    assert used(call(index=0, name="f", arguments="{}")) == [first], "the same for the same call of the same message"


def test_item_54_ids_are_cut_to_the_letters_that_the_api_takes() -> None:
    # claude-code-router#1808: an id that is refused when it comes back spoils the conversation.
    pieces = [
        call(index=n, id=given, name="f", arguments="{}") for n, given in enumerate(["a.b:1", "a_b_1", "é", "a b 1"])
    ]
    ids = [tool for tool, _, _ in used(*pieces)]
    assert ids == ["a_b_1", "a_b_1_2", "_", "a_b_1_3"]


@pytest.mark.parametrize("call_id", ["function-call-1", ""])
def test_a_signature_of_geminis_comes_along_in_the_id(call_id: str) -> None:
    # bifrost#1437: without it Gemini refuses the conversation from then on.
    signature = "CpwBAb4+/vsü=="
    signed = {"extra_content": {"google": {"thought_signature": signature}}}
    pieces = [
        call(index=0, id=call_id, name="f", arguments="{}", **signed),
        call(index=1, id="b", name="f", arguments=""),
    ]
    (first, _, _), (second, _, _) = used(*pieces)
    assert re.fullmatch("[A-Za-z0-9_-]+", first)
    assert parted_id(first)[1] == signature
    assert not call_id or parted_id(first)[0] == call_id
    assert second == "b"


@pytest.mark.parametrize("extra", [None, {}, {"google": None}, {"google": {}}, {"other": {"x": 1}}])
def test_where_there_is_no_signature_the_id_is_what_it_was(extra: Any) -> None:
    assert used(call(index=0, id="a", name="f", arguments="{}", extra_content=extra)) == [("a", "f", {})]


@pytest.mark.parametrize("call_id", ["toolu_1", "a_thought_", "a_thought_!", "a_thought_A", "_thought_gICA", ""])
def test_an_id_of_somebody_elses_carries_none(call_id: str) -> None:
    assert parted_id(call_id) == (call_id, "")


@given(st.from_regex("[A-Za-z0-9_-]{1,20}", fullmatch=True), st.text(min_size=1))
def test_a_signed_id_is_parted_again(call_id: str, signature: str) -> None:
    assert parted_id(signed_id(call_id, signature)) == (call_id, signature)


def test_item_54_the_same_id_for_two_calls() -> None:
    pieces = [call(index=n, id="call", name="f", arguments=f'{{"n":{n}}}') for n in range(2)]
    assert used(*pieces) == [("call", "f", {"n": 0}), ("call_2", "f", {"n": 1})]


def test_two_calls_of_one_tool_without_index_or_id() -> None:
    calls = used(call(name="f", arguments='{"n":1}'), call(name="f", arguments='{"n":2}'))
    assert [given for _, _, given in calls] == [{"n": 1}, {"n": 2}]


def test_a_fragment_of_nothing_is_none() -> None:
    assert used(call(index=0), call(index=0, id="", name="", arguments="")) == []
    assert used(call(index=0, id="a", name="f", arguments="{}"), call(index=0, arguments=""), call()) == [
        ("a", "f", {})
    ]


def test_null_is_no_arguments() -> None:
    assert used(call(index=0, id="a", name="f", arguments="null")) == [("a", "f", {})]
    pieces = [call(index=0, id="a", name="f", arguments=""), call(index=0, arguments="null"), call(index=0)]
    assert used(*pieces) == [("a", "f", {})]
    pieces = [
        call(index=0, id="a", name="f", arguments='{"x":'),
        *(call(index=0, arguments=end) for end in ("null", "}")),
    ]
    assert used(*pieces) == [("a", "f", {"x": None})]


@pytest.mark.parametrize(
    ("given", "told"),
    [("functions.f:0", "functions_f_0"), (" f", "f"), (" short ", "x" * 100), ("é" * 500, "_" * 128), (" ", "_")],
)
def test_a_name_that_no_tool_has_is_one_that_the_api_takes(given: str, told: str) -> None:
    # As with ids: what the API refuses when it comes back spoils the conversation.
    assert used(call(id="a", name=given, arguments="{}"), tool_names={"short": "x" * 100}) == [("a", told, {})]


def test_names_go_back_to_what_the_client_calls_them() -> None:
    assert used(call(id="a", name="short", arguments="{}"), tool_names={"short": "x" * 100}) == [("a", "x" * 100, {})]


# Beside text and thinking.


def test_item_46_text_and_two_calls() -> None:
    events = translated(
        chunk("Look"),
        chunk("ing"),
        call(index=0, id="a", name="f", arguments="{}"),
        call(index=1, id="b", name="g", arguments='{"x":1}'),
        FINISH,
        DONE,
    )
    assert told(events) == [
        "message_start", "+0 text", "Look", "ing", "-0", "+1 a f", "{}", "-1", "+2 b g", '{"x":1}', "-2", "tool_use",
        "message_stop",
    ]  # fmt: skip


def test_everything_in_one_chunk() -> None:
    # ollama#11633: engines that parse the whole answer first.
    whole = [{"index": n, "id": f"c{n}", "function": {"name": "f", "arguments": f'{{"n":{n}}}'}} for n in range(2)]
    answer = message(delta(content="Hi", tool_calls=whole, finish="stop"), DONE)
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use", "tool_use"]
    assert [block["input"] for block in answer["content"][1:]] == [{"n": 0}, {"n": 1}]


def test_text_inside_a_call_waits_for_its_end() -> None:
    said = Said()
    said.says(call(index=0, id="a", name="f", arguments='{"x"'))
    assert said.says(chunk("then")) == []
    assert said.says(call(index=1, id="b", name="g", arguments="{}")) == []
    assert said.says(call(index=0, arguments=":1}")) == [":1}", "-0", "+1 text", "then", "-1", "+2 b g", "{}", "-2"]
    assert said.says(chunk("done")) == ["+3 text", "done"]


def test_whitespace_before_a_call_is_no_text_block() -> None:
    # The API refuses a conversation with a blank text block; engines send "\n\n" between thinking and a call.
    assert blocks(chunk("\n"), chunk("\n"), call(id="a", name="f", arguments="{}"), chunk(" "), FINISH) == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    ]
    assert blocks(chunk("\n"), chunk("Hi")) == [{"type": "text", "text": "\nHi"}]
    assert blocks(chunk("\n"), chunk(" ")) == [{"type": "text", "text": "\n "}], "when there is nothing else"


# Ends.


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "something_new"])
def test_item_59_a_call_makes_it_tool_use(finish: str) -> None:
    pieces = [call(id="a", name="f", arguments="{}"), delta(finish=finish), DONE]
    assert message(*pieces)["stop_reason"] == "tool_use"


def test_item_59_a_done_mark_without_a_finish() -> None:
    assert message(call(id="a", name="f", arguments="{}"), DONE)["stop_reason"] == "tool_use"


@pytest.mark.parametrize("finish", ["tool_calls", "function_call"])
def test_item_59_no_call_no_tool_use(finish: str) -> None:
    assert message(chunk("a"), delta(finish=finish), DONE)["stop_reason"] == "end_turn"


def test_item_46_max_tokens_inside_a_call() -> None:
    pieces = [call(id="a", name="f", arguments='{"path":"x","text":"unfin'), delta(finish="length"), DONE]
    events = translated(*pieces)
    assert told(events)[1:] == ["+0 a f", '{"path":"x","text":"unfin', "-0", "max_tokens", "message_stop"]
    assert message(*pieces)["content"][0]["input"] == {"path": "x"}, "what is whole, as the SDKs show it"


@pytest.mark.parametrize("arguments", [None, "", " "])
def test_max_tokens_before_the_arguments(arguments: str | None) -> None:
    events = translated(call(id="a", name="f", arguments=arguments), delta(finish="length"), DONE)
    assert told(events)[1:] == ["+0 a f", "-0", "max_tokens", "message_stop"]


def test_max_tokens_before_the_name() -> None:
    assert blocks(call(id="a"), delta(finish="length")) == []


def test_max_tokens_inside_interleaved_calls() -> None:
    pieces = [call(index=0, id="a", name="f", arguments='{"x":1,'), call(index=1, id="b", name="g", arguments='{"y":')]
    told_blocks = blocks(*pieces, delta(finish="length"))
    assert [block["input"] for block in told_blocks] == [{"x": 1}, {}]


@pytest.mark.parametrize("finish", ["stop", "tool_calls", None])
def test_arguments_that_are_not_whole(finish: str | None) -> None:
    with pytest.raises(UpstreamMalformed, match="not whole"):
        translated(call(id="a", name="f", arguments='{"x":1'), delta(finish=finish), DONE)


def test_a_call_without_a_name() -> None:
    with pytest.raises(UpstreamMalformed, match="without naming it"):
        translated(call(id="a", arguments="{}"), FINISH, DONE)


def test_a_stream_that_ends_inside_a_call() -> None:
    with pytest.raises(UpstreamTruncated):
        translated(call(id="a", name="f", arguments='{"x":1'))


@pytest.mark.parametrize(
    "parts",
    [["x"], ["[1]"], ["{a:1}"], ['{"a":1}', "{}"], ['{"a":1}x'], ['{"a":', "}"], ['"{}"'], ['{"a":NaN}'],
     ["nul"], ['{"a":1}', "null"], ["null", "x"]],
    ids=repr,
)  # fmt: skip
def test_arguments_that_are_no_object(parts: list[str]) -> None:
    said = Said()
    said.says(call(index=0, id="a", name="f", arguments=""))
    with pytest.raises(UpstreamMalformed, match="no JSON object"):
        said.says(*(call(index=0, arguments=part) for part in parts))


def test_what_is_no_json_is_not_passed_on() -> None:
    said = Said()
    said.says(call(index=0, id="a", name="f", arguments='{"a":'))
    with pytest.raises(UpstreamMalformed):
        said.says(call(index=0, arguments="oops"))
    assert partial_json(said.events) == ['{"a":']


def test_whitespace_around_arguments_is_dropped() -> None:
    events = translated(call(index=0, id="a", name="f", arguments=" \n"), call(index=0, arguments=' {"a": 1}\n'),
                        call(index=0, arguments="  "), FINISH, DONE)  # fmt: skip
    assert partial_json(events) == ['{"a": 1}']


def test_what_comes_behind_the_finish_is_passed_on() -> None:
    late = [call(index=0, id="a", name="f", arguments="{}"), FINISH, call(index=0, arguments=""),
            call(index=1, id="b", name="g", arguments="{}"), FINISH]  # fmt: skip
    assert used(*late) == [("a", "f", {}), ("b", "g", {})]


# Names in pieces, and arguments twice.

OFFERED = ("get", "get_weather", "get_weather_now", "search")


def named(*fragments: dict[str, Any]) -> list[tuple[str, Any]]:
    """The calls of a stream where those tools were offered: name and input."""
    return [(name, given) for _, name, given in used(*map(call, fragments), offered=OFFERED)]


@pytest.mark.parametrize("place", [{"index": 0}, {}, {"index": 0, "id": "a"}, {"id": "a"}], ids=repr)
@pytest.mark.parametrize("pieces", [["get_", "weather"], ["get", "_weather"], [*"get_weather"], ["get_weather"] * 3])
def test_item_54_a_name_in_pieces(place: dict[str, Any], pieces: list[str]) -> None:
    first, *rest = pieces
    fragments = [{"index": 0, "id": "a", "name": first, "arguments": ""} if "index" in place else {"name": first}]
    fragments += [{**place, "name": piece} for piece in rest]
    fragments += [{**place, "arguments": '{"x":'}, {**place, "arguments": "1}"}]
    assert named(*fragments) == [("get_weather", {"x": 1})]


def test_item_54_a_name_that_may_go_on_waits_and_another_does_not() -> None:
    said = Said(offered=OFFERED)
    assert said.says(call(index=0, id="a", name="get")) == ["message_start"]
    assert said.says(call(index=0, name="_weather")) == []
    assert said.says(call(index=0, arguments="{")) == ["+0 a get_weather", "{"]
    assert said.says(call(index=0, arguments="}")) == ["}", "-0"]
    assert said.says(call(index=1, id="b", name="search")) == ["+1 b search"]


def test_item_54_a_second_call_is_no_piece_of_the_first() -> None:
    assert named({"index": 0, "name": "get"}, {"index": 0, "name": "search", "arguments": "{}"}) == [
        ("get", {}),
        ("search", {}),
    ]
    assert named({"index": 0, "id": "a", "name": "get"}, {"index": 0, "id": "b", "name": "_weather"}) == [
        ("get", {}),
        ("_weather", {}),
    ]


def test_item_54_a_name_that_was_cut_by_the_limit_is_no_call() -> None:
    answer = message(call(index=0, id="a", name="get"), delta(finish="length"), DONE, offered=OFFERED)
    assert (answer["content"], answer["stop_reason"]) == ([], "max_tokens")


@pytest.mark.parametrize("again", [{"index": 0}, {"index": 0, "id": "a", "name": "f"}, {"id": "a"}], ids=repr)
@pytest.mark.parametrize("arguments", ['{"x": [1], "y": "é"}', '{ "y":"\\u00e9","x":[1] }', {"x": [1], "y": "é"}])
def test_item_54_arguments_once_more_behind_their_pieces(again: dict[str, Any], arguments: object) -> None:
    # vLLM ended calls so when the arguments that it had streamed were written otherwise than it writes them.
    pieces = [call(index=0, id="a", name="f", arguments='{"x": [1]'), call(index=0, arguments=', "y": "é"}')]
    repeated = call(**again, arguments=arguments)
    assert used(*pieces, repeated) == [("a", "f", {"x": [1], "y": "é"})]
    assert partial_json(translated(*pieces, repeated, FINISH, DONE)) == ['{"x": [1]', ', "y": "é"}']


@pytest.mark.parametrize("text", ['{"x": 2}', '{"x": 1', "[", '{"x": 1} {"x": 1}'])
def test_other_arguments_behind_the_end_are_refused(text: str) -> None:
    with pytest.raises(UpstreamMalformed):
        used(call(index=0, id="a", name="f", arguments='{"x": 1}'), call(index=0, arguments=text))


def test_two_calls_of_one_tool_with_the_same_input() -> None:
    same = {"name": "f", "arguments": '{"n":1}'}
    assert len(used(call({"id": "a", **same}, {"id": "b", **same}))) == 2
    assert len(used(call({"index": 0, **same}, {"index": 1, **same}))) == 2
    assert len(used(call(same), call(same))) == 2
