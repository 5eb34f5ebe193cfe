"""Scripts: which request gets what, and what is said of a mistake."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from ezai.errors import ConfigurationError
from ezai.lab.mock import Accept, Unreachable, behaviour, mock_upstream
from ezai.lab.mock.script import Casting, load
from tests.lab.conftest import Run
from tests.lab.plain import asked, connected

SCRIPT = """
[[rules]]                                   # the second and third request of any claude
model = "claude-*"
request = "2-3"
behaviour = "status=529,retry_after=1"

[[rules]]
path = "/v1/chat/*"
headers = { X-Tenant = "a*" }
behaviour = { tokens = 2, rate = 1000.5, unnamed = false, cut_after = 3 }

[[rules]]
model = "by-itself"

[[rules]]
behaviour = "tokens=1"

[[connections]]
connection = 9
accept = "reset"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "script.toml"
    file.write_text(text)
    return file


def test_the_first_rule_that_suits_decides(tmp_path: Path) -> None:
    casting = Casting(load(written(tmp_path, SCRIPT)))
    some = behaviour("tokens=1")
    refusal = behaviour("status=529,retry_after=1")
    claude = [casting.choose("claude-x", "/v1/messages", []) for _ in range(5)]
    assert claude == [some, refusal, refusal, some, some]
    chosen = casting.choose("gpt", "/v1/chat/completions", [(b"x-tenant", b"acme")])
    assert chosen is not None
    assert (chosen.tokens, chosen.rate, chosen.faults) == (2, 1000.5, behaviour("cut_after=3").faults)
    assert casting.choose("gpt", "/v1/chat/completions", [(b"x-tenant", b"bee")]) == some
    assert casting.choose("gpt", "/v1/chat/completions", []) == some
    assert casting.choose("by-itself", "/v1/messages", []) is None
    assert casting.accept(8) is Accept.SERVE
    assert casting.accept(9) is Accept.RESET


def test_requests_are_counted_by_the_other_conditions_whoever_answers(tmp_path: Path) -> None:
    text = '[[rules]]\nrequest = 1\nbehaviour = "tokens=1"\n[[rules]]\nrequest = 2\nbehaviour = "tokens=2"\n'
    casting = Casting(load(written(tmp_path, text + '[[rules]]\nrequest = "3-"\nbehaviour = "tokens=3"')))
    chosen = [casting.choose("m", "/", []) for _ in range(4)]
    assert [given.tokens for given in chosen if given] == [1, 2, 3, 3]


def test_what_the_file_accepts_is_for_connections_without_a_rule(tmp_path: Path) -> None:
    text = 'accept = "deaf"\n[[connections]]\nconnection = 2\naccept = "serve"\n'
    casting = Casting(load(written(tmp_path, text)))
    assert [casting.accept(number) for number in (1, 2, 3)] == [Accept.DEAF, Accept.SERVE, Accept.DEAF]


def test_a_script_may_say_that_nobody_is_there(run: Run, tmp_path: Path) -> None:
    script = load(written(tmp_path, 'accept = "refuse"\n[[rules]]\nbehaviour = "tokens=1"\n'))
    assert script.unreachable is Unreachable.REFUSE

    async def main() -> None:
        async with mock_upstream(script=script) as mock:
            url = mock.url
            with pytest.raises(ConnectionRefusedError):
                await connected(mock)
            mock.stop_listening()
            mock.follow(script.accepting("serve"))
            mock.listen()
            assert mock.url == url
            assert (await asked(mock)).status == 200

    run(main())


def test_a_script_is_followed(run: Run, tmp_path: Path) -> None:
    script = load(written(tmp_path, SCRIPT.replace("connection = 9", "connection = 4")))

    async def main() -> None:
        async with mock_upstream(script=script) as mock:
            statuses = [(await asked(mock, model="claude-x")).status for _ in range(3)]
            assert statuses == [200, 529, 529]
            with suppress(ConnectionResetError):  # the reset may come before the connection is found to be there
                client = await connected(mock)
                await client.until_ended()
                assert (client.raw, client.ended) == (b"", "reset")
            assert mock.journal.connections[3].ended == "reset"
            mock.follow(script)
            assert (await asked(mock, model="claude-x")).status == 200
            own = await asked(mock, "tokens=0", model="by-itself")
            assert "content_block_start" not in own.names()

    run(main())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[rules]\n", "the file: it is not TOML"),
        ("[[rule]]\n", "rule: Object contains unknown field rule. Leave it out."),
        ("[[rules]]\nmodle = 'x'\n", "rules[1].modle: Object contains unknown field modle. Leave it out."),
        ("[[rules]]\n[[rules]]\nmodel = 3\n", "rules[2].model: Expected str, got int. See docs/mock.md."),
        (
            "[[rules]]\n[[rules]]\nbehaviour = { tokens = 'x' }\n",
            "rules[2].behaviour.tokens: 'x' cannot be. Expected a whole number, 0 or more.",
        ),
        (
            "[[rules]]\nbehaviour = { stall_aftr = 3 }\n",
            "rules[1].behaviour.stall_aftr: there is no such setting. Did you mean stall_after?",
        ),
        (
            "[[rules]]\nbehaviour = 'stall_after=-3'\n",
            "rules[1].behaviour.stall_after: '-3' cannot be. Expected an event: its number, last, or its kind.",
        ),
        ("[[rules]]\nrequest = '3-1-2'\n", 'rules[1].request: \'3-1-2\' is no range. Write 3, "1-3" or "3-"'),
        ("[[rules]]\nrequest = 0\n", "rules[1].request: 0 is no range."),
        ("[[rules]]\nheaders = { a = 1 }\n", "rules[1].headers: Expected str, got int. See docs/mock.md."),
        ("accept = 'no'\n", "accept: 'no' is none. Use one of serve, reset, close, deaf, refuse, black_hole."),
        (
            "[[connections]]\nconnection = 1\naccept = 'refuse'\n",
            "connections[1].accept: 'refuse' is of the whole mock, since it lets no connection come about. "
            'Write accept = "refuse" above all tables of the file.',
        ),
        (
            "[[rules]]\nbehaviour = 'drop=mesage_stop'\n",
            "rules[1].behaviour.drop: 'mesage_stop' is no kind of event. Did you mean message_stop?",
        ),
        ("[[connections]]\naccept = 'no'\n", "connections[1].accept: 'no' is none. Use one of serve, reset, close"),
        ("[[connections]]\n", "connections[1].accept: Object missing required field accept. See docs/mock.md."),
    ],
)
def test_a_mistake_names_the_file_the_rule_and_the_field(tmp_path: Path, text: str, told: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}: {told}")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")
