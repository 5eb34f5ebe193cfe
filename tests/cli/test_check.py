"""`ezai check`: what it finds of configuration, machine and upstreams, and what it says to do."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from ezai.cli.check_machine import look_around
from ezai.cli.check_upstreams import ask_upstreams
from ezai.cli.findings import Finding, State
from ezai.config import (
    AnthropicUpstream,
    Config,
    EmbeddedUpstream,
    LimitsConfig,
    OpenAIUpstream,
    RouteConfig,
    ServerConfig,
    StoreConfig,
    TargetConfig,
    TimeoutsConfig,
    UpstreamConfig,
)
from ezai.lab.mock import black_hole, closed_port, mock_upstream
from ezai.server.binding import bind
from ezai.store.root_secret import FILE_NAME, load_root_secret
from ezai.supervise.files import wanted_files
from tests.canary import UPSTREAM_KEY
from tests.gateway_process import clean_environment, running_gateway
from tests.store.records import new_database

# The machine.

Looked = Callable[..., dict[str, Finding]]


@pytest.fixture
def looked(tmp_path: Path) -> Looked:
    """What is found of a configuration with these sections, by what was looked at."""

    def look(environ: dict[str, str] | None = None, **sections: object) -> dict[str, Finding]:
        config = Config(**{"server": ServerConfig(port=0), "data_dir": tmp_path, **sections})  # type: ignore[arg-type]
        return {finding.subject: finding for finding in look_around(config, environ or {})}

    return look


def test_a_machine_that_is_new_is_good_and_stays_as_it_is(looked: Looked, tmp_path: Path) -> None:
    found = looked()
    assert {finding.state for finding in found.values()} == {State.OK, State.NOTE}
    assert found["store"].found == f"the first start makes {tmp_path / 'ezai.db'}"
    assert found["root secret"].found == f"the first start makes {tmp_path / FILE_NAME}"
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_there_is_good_and_stays_as_it_is(looked: Looked, tmp_path: Path) -> None:
    database = new_database(tmp_path)
    before = database.read_bytes()
    found = looked()
    assert found["store"].state is State.OK
    assert re.fullmatch(r".*/ezai\.db, schema \d{4}, writable", found["store"].found)
    assert database.read_bytes() == before


def test_a_place_that_nothing_can_be_made_in_is_trouble(looked: Looked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = looked(data_dir=tmp_path / "file")
    for subject in ("root secret", "store"):
        assert found[subject].state is State.TROUBLE
        assert found[subject].found == f"{tmp_path / 'file'} cannot be written to"
    assert "EZAI_ROOT_KEY" in found["root secret"].advice


def test_a_name_that_nobody_knows_is_not_said_to_be_open(looked: Looked) -> None:
    found = looked(server=ServerConfig(host="a..b", port=0))
    assert "is no name of a host" in found["address"].found
    assert found["keys"].state is State.TROUBLE
    assert "open" not in found["keys"].found


def test_a_store_of_a_newer_program_is_trouble(looked: Looked, tmp_path: Path) -> None:
    with closing(sqlite3.connect(new_database(tmp_path))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert looked()["store"].state is State.TROUBLE
    assert "newer EzAI (schema 9999" in looked()["store"].found


def test_a_store_of_an_older_program_is_brought_up_to_date(looked: Looked, tmp_path: Path) -> None:
    with closing(sqlite3.connect(new_database(tmp_path))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    assert (looked()["store"].state, looked()["store"].advice) == (State.NOTE, "The next start brings it to 0001.")


def test_a_file_that_is_no_store_is_trouble(looked: Looked, tmp_path: Path) -> None:
    (tmp_path / "ezai.db").write_bytes(b"not a database, by far" * 100)
    assert looked()["store"].state is State.TROUBLE
    assert looked()["keys"].state is State.NOTE


def test_a_store_that_somebody_holds_is_trouble(
    looked: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezai.cli.check_machine.BUSY_TIMEOUT_MS", 1)
    with closing(sqlite3.connect(new_database(tmp_path), isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        found = looked()["store"]
        holder.execute("ROLLBACK")
    assert found.state is State.TROUBLE
    assert "locked" in found.found


def test_a_store_that_is_none_of_ours_is_trouble(looked: Looked) -> None:
    assert looked(store=StoreConfig(url="mysql://x"))["store"].state is State.TROUBLE


def test_a_full_disk_is_trouble(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezai.cli.check_machine.LITTLE_SPACE_BYTES", 1 << 62)
    assert looked()["disk"].state is State.TROUBLE


def test_a_root_secret_that_others_read_is_trouble(looked: Looked, tmp_path: Path) -> None:
    load_root_secret(tmp_path, None)
    assert looked()["root secret"].state is State.OK
    (tmp_path / FILE_NAME).chmod(0o644)
    assert "chmod 600" in looked()["root secret"].found
    assert looked({"EZAI_ROOT_KEY": "short"})["root secret"].state is State.TROUBLE


def test_an_address_that_others_reach_needs_a_key(looked: Looked) -> None:
    everybody = ServerConfig(host="0.0.0.0", port=0)
    assert looked(server=everybody)["keys"].state is State.TROUBLE
    assert looked({"EZAI_ADMIN_KEY": "k"}, server=everybody)["keys"].state is State.OK
    assert looked()["keys"].state is State.NOTE


def test_an_address_that_is_taken_is_trouble_unless_it_is_ours(
    looked: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bind("127.0.0.1", 0) as taken, monkeypatch.context() as patch:
        patch.setattr("ezai.cli.check_machine.ASK_S", 0.1)
        taken.listen()
        found = looked(server=ServerConfig(port=taken.getsockname()[1]))
        taken.close()
    assert found["address"].state is State.TROUBLE
    config = tmp_path / "ezai.toml"
    config.write_text('[[upstreams]]\nname = "up"\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\n')
    with running_gateway(config, EZAI_DATA_DIR=str(tmp_path)) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        assert looked(server=ServerConfig(port=port))["address"].found == f"a gateway answers at 127.0.0.1:{port}"


def test_targets_that_the_running_gateway_leaves_out_are_told(looked: Looked, tmp_path: Path) -> None:
    config = tmp_path / "ezai.toml"
    with closed_port() as nobody:
        config.write_text(f'[[upstreams]]\nname = "up"\nkind = "openai"\nbase_url = "{nobody}"\nmax_retries = 0\n')
        with running_gateway(config, EZAI_DATA_DIR=str(tmp_path)) as gateway:
            server = ServerConfig(port=int(gateway.url.rpartition(":")[2]))
            assert "target up" not in looked(server=server)
            for _ in range(5):  # in a row: then it is left out
                body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
                assert httpx2.post(f"{gateway.url}/v1/messages", json=body, trust_env=False).status_code == 502
            found = looked(server=server)["target up"]
    assert (found.state, found.found) == (State.NOTE, "the running gateway has it as open")


def test_a_certificate_that_cannot_be_used_is_trouble(looked: Looked) -> None:
    server = ServerConfig(port=0, tls_certificate="nowhere.pem", tls_key="nowhere.key")
    assert looked(server=server)["certificate"].state is State.TROUBLE


def test_more_connections_than_files_is_trouble(looked: Looked) -> None:
    many = LimitsConfig(connections=10_000_000)
    found = looked(limits=many)["open files"]
    assert found.state is State.TROUBLE
    assert str(wanted_files(Config(limits=many))) in found.advice


# Upstreams.


def asked(*upstreams: UpstreamConfig, routes: list[RouteConfig] | None = None, folder: Path = Path()) -> list[Finding]:
    config = Config(upstreams=list(upstreams), routes=routes or [], data_dir=folder)
    return asyncio.run(ask_upstreams(config))


def anthropic(url: str, **more: object) -> AnthropicUpstream:
    return AnthropicUpstream(name="a", base_url=url, api_key=UPSTREAM_KEY, **more)  # type: ignore[arg-type]


def openai(url: str, **more: object) -> OpenAIUpstream:
    return OpenAIUpstream(name="o", base_url=url, api_key=UPSTREAM_KEY, **more)  # type: ignore[arg-type]


def to(upstream: str, model: str = "claude-test", target: str | None = None) -> RouteConfig:
    return RouteConfig(model=model, targets=[TargetConfig(upstream=upstream, model=target)])


def asked_of_a_mock(
    behaviour: str, make: Callable[[str], UpstreamConfig], *routes: RouteConfig
) -> tuple[Finding, list[str]]:
    """The finding, and which resources were asked for."""

    async def test() -> tuple[Finding, list[str]]:
        async with mock_upstream(behaviour) as mock:
            (finding,) = await ask_upstreams(Config(upstreams=[make(mock.url)], routes=list(routes)))
            return finding, [request.path for request in mock.journal.requests]

    return asyncio.run(test())


@pytest.mark.parametrize(("make", "name"), [(anthropic, "a"), (openai, "o")])
def test_an_upstream_that_answers_is_told_with_its_time(make: Callable[[str], UpstreamConfig], name: str) -> None:
    finding, paths = asked_of_a_mock("tokens=3", make, to(name))
    assert (finding.subject, finding.state) == (f"upstream {name}", State.OK)
    assert re.fullmatch(r"claude-test answers, the first token after \d+ ms", finding.found)
    assert len(paths) == 1, "a named model needs no list"


@pytest.mark.parametrize(("make", "name"), [(anthropic, "a"), (openai, "o")])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_trouble(status: int, make: Callable[[str], UpstreamConfig], name: str) -> None:
    for routes in ([to(name)], [to(name, "*")]):
        finding, _ = asked_of_a_mock(f"status={status}", make, *routes)
        assert finding.state is State.TROUBLE
        assert finding.found == f"it refuses the credential (status {status})"
        assert "api_key" in finding.advice
        assert UPSTREAM_KEY not in str(finding)


def test_a_model_that_is_not_there_is_trouble_where_it_was_named() -> None:
    finding, _ = asked_of_a_mock("status=404", anthropic, to("a"))
    assert finding.state is State.TROUBLE
    assert "model" in finding.advice


def test_a_route_by_pattern_takes_a_model_of_the_upstreams_list() -> None:
    finding, paths = asked_of_a_mock("tokens=3", openai, to("o", "*"))
    assert finding.state is State.OK
    assert len(paths) == 2
    finding, paths = asked_of_a_mock("tokens=3", openai, to("o", "nothing-is-called-so-*"))
    assert (finding.state, len(paths)) == (State.NOTE, 1)


def test_it_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    finding, paths = asked_of_a_mock("status=529", anthropic, to("a"))
    assert (finding.state, len(paths)) == (State.TROUBLE, 1)


def test_a_quota_that_is_used_up_is_trouble() -> None:
    finding, _ = asked_of_a_mock("status=429,error_message=No more today", anthropic, to("a"))
    assert (finding.state, "No more today" in finding.found) == (State.TROUBLE, True)


def test_a_stream_that_breaks_is_trouble() -> None:
    finding, _ = asked_of_a_mock("tokens=3,cut_after=3", anthropic, to("a"))
    assert finding.state is State.TROUBLE


def test_an_upstream_that_is_silent_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezai.cli.check_upstreams.PATIENCE_S", 0.01)
    finding, _ = asked_of_a_mock("tokens=3,stall_after=0", anthropic, to("a"))
    assert finding.state is State.TROUBLE
    assert "took longer than 0.01 s" in finding.found


def test_an_upstream_that_is_not_reached_in_time_is_not_called_slow() -> None:
    with black_hole() as nobody:
        (finding,) = asked(anthropic(nobody, timeouts=TimeoutsConfig(connect=0.05)), routes=[to("a")])
    assert finding.state is State.TROUBLE
    assert finding.found == "The upstream could not be reached within 0.05 s (timeouts.connect)."
    assert "network" in finding.advice
    assert "proxy" in finding.advice
    assert "overloaded" not in finding.advice


@pytest.mark.parametrize(("make", "name"), [(anthropic, "a"), (openai, "o")])
def test_an_upstream_that_accepts_and_never_speaks_is_trouble_where_its_list_is_wanted(
    make: Callable[[str], UpstreamConfig], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezai.cli.check_upstreams.PATIENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        (finding,) = asked(make(f"http://127.0.0.1:{deaf.getsockname()[1]}"), routes=[to(name, "*")])
    assert finding.state is State.TROUBLE
    assert "took longer than 0.05 s" in finding.found


@pytest.mark.parametrize(
    ("behaviour", "advice"),
    [
        ("status=402", "Settle the account"),
        ("status=429", "quota"),
        ("status=500", "fails by itself"),
        ("status=529", "fails by itself"),
        ("tokens=3,cut_after=3", "it broke off"),
        ("status=400", "base_url, kind and model"),
    ],
)
def test_each_trouble_has_its_own_advice(behaviour: str, advice: str) -> None:
    finding, _ = asked_of_a_mock(behaviour, openai, to("o"))
    assert finding.state is State.TROUBLE
    assert advice in finding.advice


def test_an_upstream_that_cannot_be_reached_is_trouble_and_says_why() -> None:
    with closed_port() as nobody:
        (finding,) = asked(anthropic(nobody), routes=[to("a")])
    assert finding.state is State.TROUBLE
    assert finding.found == "The upstream could not be reached. Connection refused."
    assert "base_url" in finding.advice


def test_each_upstream_is_asked_for_itself() -> None:
    async def test() -> list[Finding]:
        with closed_port() as nobody:
            async with mock_upstream("tokens=1") as mock:
                upstreams: list[UpstreamConfig] = [
                    openai(nobody),
                    anthropic(mock.url),
                    OpenAIUpstream(name="no-file", base_url=mock.url, ca_file="nowhere.pem"),
                    AnthropicUpstream(name="no-key"),
                ]
                return await ask_upstreams(Config(upstreams=upstreams, routes=[to("o"), to("a")]))

    states = [(finding.subject, finding.state) for finding in asyncio.run(test())]
    assert states == [
        ("upstream o", State.TROUBLE),
        ("upstream a", State.OK),
        ("upstream no-file", State.TROUBLE),
        ("upstream no-key", State.TROUBLE),
    ]


def test_an_embedded_model_that_is_not_here_is_trouble(tmp_path: Path) -> None:
    (finding,) = asked(EmbeddedUpstream(name="local", model="nowhere.gguf"), folder=tmp_path)
    assert finding.state is State.TROUBLE
    assert "There is no model 'nowhere.gguf'" in finding.found


@pytest.mark.model
def test_the_embedded_model_is_started_and_asked() -> None:
    from tests.model_fixture import REPOSITORY_DATA_DIR, ensure_model

    ensure_model()
    (finding,) = asked(EmbeddedUpstream(name="local"), folder=REPOSITORY_DATA_DIR)
    assert finding.state is State.OK
    assert finding.found.startswith("smollm2-135m answers")


def test_timeouts_that_are_short_stay_short() -> None:
    finding, _ = asked_of_a_mock(
        "tokens=3,stall_after=0", lambda url: anthropic(url, timeouts=TimeoutsConfig(first_event=0.01)), to("a")
    )
    assert finding.state is State.TROUBLE


# As a command.


def check(config: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ezai", "check", "--config", str(config)],
        env=clean_environment(EZAI_DATA_DIR=str(config.parent), COLUMNS="300", **environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def mocking(port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "ezai", "mock", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()
        yield
        process.terminate()
        process.communicate(timeout=30)


def test_it_prints_a_table_and_exits_with_0_or_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    config = tmp_path / "ezai.toml"
    config.write_text(
        f'[server]\nport = 0\n[[upstreams]]\nname = "up"\nkind = "anthropic"\nbase_url = "http://127.0.0.1:{port}"\n'
        'api_key = "${KEY}"\n[[routes]]\nmodel = "claude-x"\ntargets = [{ upstream = "up" }]\n'
    )
    with mocking(port):
        done = check(config, KEY=UPSTREAM_KEY)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"^ +ok +upstream up +claude-x answers, the first token after", done.stdout, re.MULTILINE)
    done = check(config, KEY=UPSTREAM_KEY)
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert re.search(r"^ +trouble +upstream up +The upstream could not be reached", done.stdout, re.MULTILINE)
    done = check(config)
    assert (done.returncode, done.stderr) == (1, "")
    place = r"ezai.toml: upstreams\[0\].api_key: the environment variable KEY is not set"
    assert re.search(rf"^ +trouble +configuration .*{place} +Set it", done.stdout, re.MULTILINE)
    assert os.listdir(tmp_path) == ["ezai.toml"], "it made nothing"
