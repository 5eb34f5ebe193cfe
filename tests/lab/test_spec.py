"""The readable form, and that its table is told truly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.errors import ConfigurationError
from ezai.lab.mock import Behaviour, behaviour
from ezai.lab.mock.asked import Asked, HttpRequest, read_body
from ezai.lab.mock.behaviour import settings
from ezai.lab.mock.faults.table import FAULTS
from ezai.lab.mock.reply import KeepAlive
from ezai.lab.mock.spec import parse, parse_remote, table
from ezai.lab.mock.values import At, Where
from ezai.lab.mock.wire import Wire
from ezai.lab.mock.wire_anthropic import ANTHROPIC
from ezai.lab.mock.wire_openai import OPENAI

PAGE = Path(__file__).parents[2] / "docs/mock.md"


def test_nothing_written_is_the_well_behaved_answer() -> None:
    assert parse("", "here") == Behaviour()
    assert behaviour() == Behaviour()


def test_settings_and_faults_are_written_alike() -> None:
    made = parse("tokens=50, rate=2.5,stall_after=3,keep_alive=race,unnamed", "here")
    assert (made.tokens, made.rate) == (50, 2.5)
    assert dict(made.faults) == {"stall_after": Where(number=3), "keep_alive": KeepAlive.RACE, "unnamed": True}


def test_settings_by_name_are_the_same_as_written() -> None:
    written = parse("tokens=5,stall_after=last,error_after=message_delta:api_error,slice=1KiB,unnamed", "here")
    named = behaviour(tokens=5, stall_after="last", error_after="message_delta:api_error", slice="1KiB", unnamed=True)
    assert written == named
    assert dict(named.faults)["error_after"] == At(Where(kind="message_delta"), "api_error")
    assert behaviour("tokens=5", tokens=6).tokens == 6


def test_faults_are_applied_in_the_table_s_order_however_they_are_written() -> None:
    one, other = parse("slice=1,garbage=2,status=500", "here"), parse("status=500,slice=1,garbage=2", "here")
    assert one.faults == other.faults
    assert [name for name, _ in one.faults] == ["status", "garbage", "slice"]


def test_a_fault_that_is_off_is_none() -> None:
    assert behaviour(unnamed=False).faults == ()
    assert parse("unnamed=false", "here").faults == ()


@pytest.mark.parametrize("text", ["a, b", "100 %", "two\nlines", "\u2028", "=", "é"])
def test_any_text_can_be_written(text: str) -> None:
    made = behaviour(text=text, tokens=3)
    assert made.text == text
    assert parse(made.written, "here").text == text


@given(st.text(alphabet="abc=,:%_019. \n", max_size=40))
def test_whatever_is_written_is_understood_or_refused_with_its_place(written: str) -> None:
    try:
        parse(written, "here")
    except ConfigurationError as error:
        assert str(error).startswith("here: ")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("token=3", "here: token: there is no such setting. Did you mean tokens?"),
        ("xyzzy", "here: xyzzy: there is no such setting. docs/mock.md has the table of all of them."),
        ("tokens=many", "here: tokens: 'many' cannot be. Expected a whole number, 0 or more."),
        ("tokens=-1", "here: tokens: '-1' cannot be. Expected a whole number, 0 or more."),
        ("rate=inf", "here: rate: 'inf' cannot be. Expected a number per second, 0 or more."),
        ("chance=2", "here: chance: '2' cannot be. Expected a chance from 0 to 1."),
        ("slice=3KB", "here: slice: '3KB' cannot be. Expected bytes, such as 4096, 64KiB, 10MiB or 1GiB."),
        ("unnamed=yes", "here: unnamed: 'yes' cannot be. Expected no value, true or false."),
        ("status=99", "here: status: '99' cannot be. Expected an HTTP status."),
        ("cut_after=-3", "here: cut_after: '-3' cannot be. Expected an event: its number, last, or its kind."),
        ("cut_after=mesage_stop", "here: cut_after: 'mesage_stop' is no kind of event. Did you mean message_stop?"),
        ("end_in=finsh:3", "here: end_in: 'finsh' is no kind of event. Did you mean finish?"),
        (
            "drop=xyzzy",
            "here: drop: 'xyzzy' is no kind of event. Give its number, last, or one of message_start, "
            "content_block_start, ping, content_block_delta, content_block_stop, message_delta, message_stop, "
            "role, reasoning, content, tool, finish, usage, done, head, body.",
        ),
        ("pause_after=3", "here: pause_after: '3' cannot be. Expected EVENT:SECONDS."),
        ("split=0", "here: split: '0' cannot be. Expected offsets in bytes, 1 or more, joined by +."),
        ("keep_alive=no", "here: keep_alive: 'no' cannot be. Expected one of yes, close, silent, race, race_reset."),
        ("tool_index=two", "here: tool_index: 'two' cannot be. Expected one of missing, zero."),
    ],
)
def test_what_is_refused_says_what_was_expected(written: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(written, "here")
    assert str(refused.value) == told


def test_a_file_is_read_for_whoever_runs_the_mock_and_for_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "recorded.sse"
    file.write_bytes(b"data: 1\n\n")
    assert behaviour(recording=file).recording == b"data: 1\n\n"
    assert behaviour(recording=b"data: 2\n\n").recording == b"data: 2\n\n"
    with pytest.raises(ConfigurationError, match="only whoever runs the mock may set this"):
        parse_remote(f"recording={file}", "The header x-mock")
    with pytest.raises(ConfigurationError, match="a file that can be read"):
        behaviour(recording=tmp_path / "none")


def test_a_recording_has_kinds_of_its_own() -> None:
    made = behaviour("cut_after=vendor_event", recording=b"event: vendor_event\ndata: {}\n\n")
    assert dict(made.faults) == {"cut_after": Where(kind="vendor_event")}
    with pytest.raises(ConfigurationError, match="'vendor_evnt' is no kind of event"):
        behaviour("cut_after=vendor_evnt", recording=b"event: vendor_event\ndata: {}\n\n")


@pytest.mark.parametrize("wire", [ANTHROPIC, OPENAI])
def test_the_kinds_of_a_wire_are_those_of_its_events(wire: Wire) -> None:
    body = read_body(b'{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}')
    asked = Asked(HttpRequest("POST", "/", [], b""), body, 1, wire, behaviour("tokens=1,thinking=1,tools=1"))
    assert {frame.kind for frame in wire.events(asked)} == set(wire.kinds)


def test_a_behaviour_is_a_value() -> None:
    assert hash(behaviour("tokens=5,stall_after=3")) == hash(behaviour("tokens=5,stall_after=3"))
    with pytest.raises(AttributeError):
        behaviour().tokens = 3  # type: ignore[misc]


# The tables.


def test_no_fault_has_the_name_of_a_setting() -> None:
    assert not settings().keys() & FAULTS.keys()


def test_defaults_are_what_their_readers_read() -> None:
    for name, (setting, default) in settings().items():
        if default not in {b"", False}:
            assert setting.reader.read(str(default)) == default, name


def test_the_page_shows_the_tables() -> None:
    assert table() in PAGE.read_text()


def test_every_row_of_the_upstream_s_faults_can_be_injected() -> None:
    named = {row for fault in FAULTS.values() for row in fault.rows.split(", ")}
    by_settings = {"U6"}  # endless
    by_connection = {"U1", "U2", "U35"}  # Accept, Unreachable, Mock.stop_listening, Tls
    by_size = {"U21"}  # tokens=100000
    assert named | by_settings | by_connection | by_size >= {f"U{number}" for number in range(1, 36)}


@pytest.mark.parametrize("example", re.findall(r'"mock-([^"]+)"', PAGE.read_text() if PAGE.exists() else ""))
def test_model_names_on_the_page_are_understood(example: str) -> None:
    parse_remote(example, "docs/mock.md")
