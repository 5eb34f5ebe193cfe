"""The form of log lines, and what is never in them."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai.observe.log import JsonFormatter, TextFormatter, start_logging
from tests.canary import CLIENT_KEY, UPSTREAM_KEY
from tests.conformance.gateway import Options, gateway, hello, run, streamed
from tests.pipeline.fakes import FakeKeys, chunk

logger = logging.getLogger("ezai.test")

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029"]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ezai")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def started(
    form: Literal["auto", "text", "json"], level: str = "info", stream: io.StringIO | None = None
) -> io.StringIO:
    stream = stream or io.StringIO()
    start_logging(level, form, stream)
    return stream


def record(
    message: str, *arguments: object, fields: object = None, failure: BaseException | None = None
) -> logging.LogRecord:
    exc_info = (type(failure), failure, failure.__traceback__) if failure else None
    made = logging.LogRecord("ezai.test", logging.INFO, "file", 1, message, arguments, exc_info)
    made.created = 1_800_000_000.5  # 2027-01-15 08:00:00.5 UTC
    if fields is not None:
        made.fields = fields
    return made


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  # what the test asked for
        return caught


# The two forms.


def test_a_line_of_text() -> None:
    line = TextFormatter().format(record("served %s", "it", fields={"status": 200, "key": None, "took_ms": 1.5}))
    assert line == "08:00:00 INFO served it status=200 took_ms=1.5"


def test_a_line_of_json() -> None:
    line = JsonFormatter().format(record("served %s", "it", fields={"status": 200, "key": None, "odd": object}))
    assert msgspec.json.decode(line) == {
        "time": "2027-01-15T08:00:00.500+00:00",
        "level": "info",
        "logger": "ezai.test",
        "message": "served it",
        "status": 200,
        "key": None,
        "odd": "<class 'object'>",
    }


@pytest.mark.parametrize("fields", ["text", 5, ["a"]])
def test_fields_that_are_none_are_left_out(fields: object) -> None:
    assert TextFormatter().format(record("m", fields=fields)) == "08:00:00 INFO m"
    assert set(msgspec.json.decode(JsonFormatter().format(record("m", fields=fields)))) == {
        "time", "level", "logger", "message",
    }  # fmt: skip


def test_an_exception_comes_with_its_traceback() -> None:
    failed = record("it failed", failure=raised(ValueError("why")))
    text = TextFormatter().format(failed)
    assert text.startswith("08:00:00 INFO it failed\nTraceback ")
    assert text.endswith("ValueError: why")
    told = msgspec.json.decode(JsonFormatter().format(failed))["exception"]
    assert told.startswith("Traceback ")
    assert told.endswith("ValueError: why")


# No line can be forged.


def test_a_control_character_forges_no_line_of_text() -> None:
    def told(text: str) -> str:
        return TextFormatter().format(record("%s", text, fields={"value": text, "list": [text]}))

    shown = {control: told(f"x{control}12:34:56 INFO forged") for control in CONTROLS}
    assert [control for control, line in shown.items() if control in line] == []
    assert [control for control, line in shown.items() if f"x\\x{ord(control):02x}12:34:56" not in line] == []


def test_a_control_character_forges_no_line_of_json() -> None:
    for control in CONTROLS:
        text = f"x{control}{{"
        line = JsonFormatter().format(record("%s", text, fields={"value": text}))
        assert not {"\n", "\r", "\x1b"} & set(line)
        value = msgspec.json.decode(line)
        assert (value["message"], value["value"]) == (text, text)


@pytest.mark.parametrize("form", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_an_exception_forges_no_line(form: logging.Formatter) -> None:
    failure = raised(ValueError("x\n12:34:56 INFO forged\x1b[2K"))
    lines = form.format(record("it failed", failure=failure)).split("\n")
    assert not [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line) and "it failed" not in line]
    assert not [line for line in lines if "\x1b" in line]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_one_line(text: str) -> None:
    for form in (TextFormatter(), JsonFormatter()):
        line = form.format(record("%s", text, fields={"value": text, "list": [text]}))
        assert len(line.split("\n")) == 1
    assert len(TextFormatter().format(record("%s", text, fields={"value": text})).splitlines()) == 1


# Where lines go, and which.


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("text", io.StringIO(), False),
        ("json", Terminal(), True),
    ],
)
def test_auto_is_text_on_a_terminal_alone(
    form: Literal["auto", "text", "json"], stream: io.StringIO, is_json: bool
) -> None:
    started(form, stream=stream)
    logger.info("m")
    assert stream.getvalue().startswith("{") is is_json


@pytest.mark.parametrize(("level", "shown"), [("debug", "diwe"), ("info", "iwe"), ("warning", "we"), ("error", "e")])
def test_the_level_is_that_of_our_own_lines(level: str, shown: str) -> None:
    stream = started("json", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)(name)
    told = [msgspec.json.decode(line)["message"][0] for line in stream.getvalue().splitlines()]
    assert "".join(told) == shown


def test_of_the_libraries_warnings_are_shown() -> None:
    stream = started("json", "debug")
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("trouble")
    assert [msgspec.json.decode(line)["message"] for line in stream.getvalue().splitlines()] == ["trouble"]


def test_a_second_start_replaces_the_first() -> None:
    first = started("json")
    second = started("text")
    logger.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_lines_go_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", "json", sys.stderr)
    logger.info("m")
    out, err = capsys.readouterr()
    assert (out, '"message":"m"' in err) == ("", True)


# Nothing of what was said.

SECRETS = ("PROMPT", "ANSWER", CLIENT_KEY, UPSTREAM_KEY)


@pytest.mark.parametrize("form", ["text", "json"])
def test_prompts_answers_and_credentials_are_in_no_line(form: Literal["text", "json"]) -> None:
    stream = started(form, "debug")
    broken: list[Any] = streamed(chunk("ANSWER"), b"data: {ANSWER\n\n")
    cut: list[Any] = streamed(chunk("ANSWER"))
    not_http: list[Any] = [b"ANSWER\r\n\r\n"]
    said: dict[str, Any] = {"system": "PROMPT", "messages": [{"role": "user", "content": "PROMPT"}]}

    async def test() -> None:
        options = Options(keys=FakeKeys(**{CLIENT_KEY: "public"}))
        async with gateway(hello("ANSWER"), hello("ANSWER"), broken, cut, not_http, options=options) as running:
            key = {"x-api-key": CLIENT_KEY}
            for stream in (True, False, True, False, True):
                await running.post(headers=key, stream=stream, **said)
            assert len(running.upstream.requests) == 5
            wrong: tuple[dict[str, Any], ...] = ({"messages": "PROMPT"}, {"tools": "PROMPT"}, {"model": "x"})
            for fields in wrong:
                assert (await running.post(headers=key, **{**said, **fields})).status_code >= 400
            await running.post(headers={"authorization": f"Bearer {CLIENT_KEY}-not"}, **said)
            await running.post("/v1/PROMPT", headers=key)

    run(test())
    told = stream.getvalue()
    assert told.count("request ended") >= 5
    for secret in SECRETS:
        assert secret not in told


def test_a_defect_is_told_without_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = started("json", "debug")

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("ezai.pipeline.dispatch.find_route", fail)

    async def test() -> str:
        async with gateway() as running:
            response = await running.post(messages=[{"role": "user", "content": "PROMPT"}])
            assert response.status_code == 500
            return response.headers["request-id"]

    request_id = run(test())
    told = stream.getvalue()
    assert "RuntimeError: a defect" in told
    assert request_id in told
    assert "PROMPT" not in told
