"""Configuration: where each value comes from, and how each wrong one is refused."""

from __future__ import annotations

import datetime
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai import config as configuration
from ezai.config import (
    Config,
    EmbeddedUpstream,
    LimitsConfig,
    LogConfig,
    OpenAIUpstream,
    RouteConfig,
    RouteTimeoutsConfig,
    ServerConfig,
    TargetConfig,
    TimeoutsConfig,
    load,
)
from ezai.errors import ConfigurationError, SetupError
from ezai.models.reference import resolve
from tests.models.gguf_file import gguf

Load = Callable[..., Config]
Refused = Callable[..., ConfigurationError]

SERVER_UPSTREAM = '[[upstreams]]\nname = "a"\nkind = "openai"\nbase_url = "http://127.0.0.1:1"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ezai.toml"


@pytest.fixture
def loaded(file: Path) -> Load:
    """Load a file of this text."""

    def load_text(text: str | bytes, environ: Mapping[str, str] | None = None, **command_line: Any) -> Config:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(file, environ or {}, **command_line)

    return load_text


@pytest.fixture
def refused(loaded: Load) -> Refused:
    """The refusal of a file of this text; it says everything in its one sentence."""

    def refuse_text(*arguments: Any, **command_line: Any) -> ConfigurationError:
        with pytest.raises(ConfigurationError) as caught:
            loaded(*arguments, **command_line)
        error = caught.value
        assert isinstance(error, SetupError)
        for part in (error.where, error.key, error.problem, error.fix):
            assert part
            assert part in str(error)
        return error

    return refuse_text


# Defaults, and every key of the file.


def test_without_a_file_everything_goes_to_the_embedded_model() -> None:
    config = load(None, {"EZAI_DATA_DIR": "/data"})
    assert config == Config(
        server=ServerConfig(host="127.0.0.1", port=8080, workers=1, strict_version=False),
        limits=LimitsConfig(
            body_mib=32,
            header_kib=32,
            connections=4000,
            streams=2000,
            event_mib=8,
            request_receive=60,
            drain=120,
            commit_after=10,
            keep_alive=10,
        ),
        log=LogConfig(level="info", format="auto"),
        upstreams=[EmbeddedUpstream(name="local", model="smollm2-135m", context=8192, slots=4)],
        routes=[RouteConfig(model="*", targets=[TargetConfig(upstream="local", model=None)], display_name="")],
        data_dir=Path("/data"),
    )
    assert config.upstreams[0].timeouts == TimeoutsConfig(
        connect=5, response_headers=300, first_event=300, idle=120, total=3600
    )


def test_an_empty_file_is_no_file(loaded: Load) -> None:
    assert loaded("") == load(None, {})


SECTION_KEYS = [
    ("server", "host", "0.0.0.0"),
    ("server", "port", 1),
    ("server", "workers", 3),
    ("server", "tls_certificate", "mine.pem"),
    ("server", "tls_key", "mine.key"),
    ("server", "http2", True),
    ("server", "cors_origins", ["https://app.example.com"]),
    ("server", "strict_version", True),
    ("limits", "body_mib", 1),
    ("limits", "header_kib", 1),
    ("limits", "connections", 1),
    ("limits", "streams", 1),
    ("limits", "event_mib", 2),
    ("limits", "queue_kib", 2),
    ("limits", "reader_stall", 0.5),
    ("limits", "request_receive", 0.5),
    ("limits", "drain", 0.5),
    ("limits", "commit_after", 0.5),
    ("limits", "keep_alive", 3),
    ("log", "level", "debug"),
    ("log", "format", "text"),
]


GOES_WITH = {"tls_certificate": {"tls_key": "other"}, "tls_key": {"tls_certificate": "other"}}
"""Keys that another has to be there for."""


@pytest.mark.parametrize(("section", "key", "value"), SECTION_KEYS)
def test_each_key_of_a_section_is_read(section: str, key: str, value: Any, loaded: Load) -> None:
    keys = {key: value, **GOES_WITH.get(key, {})}
    config = loaded(toml({section: keys}))
    default = getattr(load(None, {}), section)
    assert getattr(config, section) == msgspec.structs.replace(default, **keys)
    assert getattr(config, section) != default


def test_that_was_each_key() -> None:
    sections = {"server": ServerConfig, "limits": LimitsConfig, "log": LogConfig}
    there_are = {(name, key) for name, section in sections.items() for key in section.__struct_fields__}
    assert {(section, key) for section, key, _ in SECTION_KEYS} == there_are


def test_an_origin_that_is_none_is_refused_by_its_place(refused: Refused) -> None:
    error = refused('[server]\ncors_origins = ["https://app.example.com", "*"]')
    assert error.key == "server.cors_origins[1]"


@pytest.mark.parametrize("key", GOES_WITH)
def test_one_half_of_a_certificate_is_refused(key: str, loaded: Load) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(toml({"server": {key: "x"}}))
    assert caught.value.key == "server"
    assert "tls_certificate and tls_key" in str(caught.value)


TIMEOUTS = {"connect": 1, "response_headers": 2, "first_event": 3, "idle": 4, "total": 0.5}
UPSTREAM_KEYS: dict[str, dict[str, Any]] = {
    "embedded": {
        "name": "a",
        "model": "my.gguf",
        "context": 100,
        "slots": 2,
        "threads": 3,
        "timeouts": TIMEOUTS,
        "max_retries": 1,
    },
    "openai": {
        "name": "a",
        "base_url": "http://localhost:9/v1",
        "api_key": "k",
        "headers": {"x-team": "t"},
        "ca_file": "ca.pem",
        "proxy": "none",
        "strip_fields": ["f"],
        "mid_system": "hoist",
        "timeouts": TIMEOUTS,
        "max_retries": 0,
    },
    "anthropic": {
        "name": "a",
        "base_url": "http://localhost:9",
        "api_key": "k",
        "auth": "bearer",
        "headers": {"x-team": "t"},
        "ca_file": "ca.pem",
        "proxy": "none",
        "strip_betas": ["b"],
        "strip_fields": ["f.*"],
        "timeouts": TIMEOUTS,
        "max_retries": 0,
    },
}


@pytest.mark.parametrize("kind", UPSTREAM_KEYS)
def test_each_key_of_an_upstream_is_read(kind: str, loaded: Load) -> None:
    keys = UPSTREAM_KEYS[kind]
    upstream = loaded(toml({"upstreams": [{"kind": kind, **keys}]})).upstreams[0]
    assert msgspec.to_builtins(upstream) == {"kind": kind, **keys}


def test_that_was_each_key_of_each_kind() -> None:
    kinds = {kind.__struct_config__.tag: set(kind.__struct_fields__) for kind in get_args(configuration.UpstreamConfig)}
    assert {kind: set(keys) for kind, keys in UPSTREAM_KEYS.items()} == kinds
    assert set(TIMEOUTS) == set(TimeoutsConfig.__struct_fields__)


def test_each_key_of_a_route_is_read(loaded: Load) -> None:
    target = {"upstream": "a", "model": "b", "context": 99, "max_output": 9}
    route = {"model": "a*", "display_name": "A", "targets": [target], "timeouts": TIMEOUTS}
    read = loaded(SERVER_UPSTREAM + toml_tables("routes", route)).routes
    assert msgspec.to_builtins(read) == [route]
    assert set(route) == set(RouteConfig.__struct_fields__)
    assert set(target) == set(TargetConfig.__struct_fields__)
    assert set(TIMEOUTS) == set(RouteTimeoutsConfig.__struct_fields__)


def test_a_route_says_of_the_phases_what_it_wants_to(loaded: Load) -> None:
    route = '[[routes]]\nmodel = "x"\ntargets = [ { upstream = "a" } ]\ntimeouts = { first_event = 20 }\n'
    assert loaded(SERVER_UPSTREAM + route).routes[0].timeouts == RouteTimeoutsConfig(first_event=20)


def test_targets_keep_their_order(loaded: Load) -> None:
    text = SERVER_UPSTREAM + SERVER_UPSTREAM.replace('"a"', '"b"')
    targets = '{ upstream = "b" }, { upstream = "a", model = "x" }, { upstream = "a" }'
    read = loaded(text + f'[[routes]]\nmodel = "m"\ntargets = [ {targets} ]\n').routes[0].targets
    assert [(target.upstream, target.model) for target in read] == [("b", None), ("a", "x"), ("a", None)]


def test_without_routes_the_embedded_model_takes_every_name(loaded: Load) -> None:
    config = loaded(SERVER_UPSTREAM + '[[upstreams]]\nname = "b"\nkind = "embedded"\n')
    assert config.routes == [RouteConfig(model="*", targets=[TargetConfig(upstream="b")])]


def test_without_routes_and_embedded_model_the_first_upstream_takes_every_name(loaded: Load) -> None:
    config = loaded(SERVER_UPSTREAM + SERVER_UPSTREAM.replace('"a"', '"b"'))
    assert config.routes == [RouteConfig(model="*", targets=[TargetConfig(upstream="a")])]


def test_with_routes_there_is_no_other_way(loaded: Load) -> None:
    config = loaded(SERVER_UPSTREAM + '[[routes]]\nmodel = "x"\ntargets = [ { upstream = "a" } ]\n')
    assert [route.model for route in config.routes] == ["x"]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(None, {}).server.port = 1  # type: ignore[misc]  # what it is about


# The environment and the command line.


@pytest.mark.parametrize(
    ("variable", "text", "at"),
    [("EZAI_HOST", "::1", "server.host"), ("EZAI_PORT", "9", "server.port"), ("EZAI_LOG", "Debug", "log.level")],
)
def test_the_environment_stands_above_the_file(variable: str, text: str, at: str, loaded: Load) -> None:
    file_text = '[server]\nhost = "localhost"\nport = 1\n[log]\nlevel = "error"\n'
    section, _, key = at.partition(".")

    def value(environ: dict[str, str]) -> str:
        return str(getattr(getattr(loaded(file_text, environ), section), key))

    assert value({variable: text}) == text.lower()
    assert value({variable: ""}) == value({}) != text.lower()
    assert str(getattr(getattr(load(None, {variable: text}), section), key)) == text.lower()


def test_the_command_line_stands_above_both(loaded: Load) -> None:
    text, environ = '[server]\nhost = "localhost"\nport = 1\n', {"EZAI_HOST": "127.0.0.2", "EZAI_PORT": "2"}
    assert loaded(text, environ, host="127.0.0.3").server == ServerConfig(host="127.0.0.3", port=2)
    assert loaded(text, environ, port=0).server == ServerConfig(host="127.0.0.2", port=0)


def test_the_file_may_come_from_the_environment(file: Path, tmp_path: Path) -> None:
    file.write_text("[server]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 2\n")
    environ = {"EZAI_CONFIG": str(other)}
    assert load(None, environ).server.port == 2
    assert load(file, environ).server.port == 1
    assert load(None, {"EZAI_CONFIG": ""}).server.port == 8080


@pytest.mark.parametrize("text", ["x", "-1", "8080.0", " 80", "0x50", "²", pytest.param("9" * 5000, id="long")])
def test_a_port_of_the_environment_that_is_no_number(text: str, refused: Refused) -> None:
    error = refused("", {"EZAI_PORT": text})
    assert (error.where, error.key) == ("environment", "EZAI_PORT")


@pytest.mark.parametrize(
    ("environ", "command_line", "named"),
    [
        ({"EZAI_PORT": "70000"}, {}, "EZAI_PORT"),
        ({"EZAI_LOG": "loud"}, {}, "EZAI_LOG"),
        ({}, {"port": 70000}, "--port"),
    ],
)
def test_a_bad_value_is_not_blamed_on_the_file_when_it_came_from_elsewhere(
    environ: dict[str, str], command_line: dict[str, int], named: str, file: Path, refused: Refused
) -> None:
    error = refused("[server]\nport = 1\n", environ, **command_line)
    assert named in str(error)
    assert str(file) not in str(error)


def test_a_variable_stands_for_its_text_in_any_string(loaded: Load) -> None:
    text = (
        '[[upstreams]]\nname = "a"\nkind = "openai"\nbase_url = "http://${HOST}:${PORT_1}/v1"\n'
        'api_key = "${KEY}"\nheaders = { x-key = "a${KEY}b${EMPTY}", x-plain = "$KEY $${KEY} ${1} ${}" }\n'
    )
    config = loaded(text, {"HOST": "localhost", "PORT_1": "9", "KEY": "${HOST}", "EMPTY": ""})
    upstream = config.upstreams[0]
    assert isinstance(upstream, OpenAIUpstream)
    assert upstream.base_url == "http://localhost:9/v1"
    assert upstream.api_key == "${HOST}"  # taken as it is, not read again
    assert upstream.headers == {"x-key": "a${HOST}b", "x-plain": "$KEY $${HOST} ${1} ${}"}


def test_a_variable_that_is_not_set(file: Path, refused: Refused) -> None:
    text = SERVER_UPSTREAM + 'timeouts = {}\nheaders = { x = "${NOT_SET}" }\n'
    error = refused(text)
    assert (error.where, error.key) == (str(file), "upstreams[0].headers.x")
    assert "NOT_SET" in error.problem
    assert load(file, {"NOT_SET": "v"}).upstreams


# The data directory.


def test_the_data_directory_of_the_environment_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load(None, {"EZAI_DATA_DIR": "data"}).data_dir == tmp_path / "data"
    assert load(None, {"EZAI_DATA_DIR": "~/data"}).data_dir == tmp_path / "home/data"
    assert not (tmp_path / "data").exists()


def test_the_data_directory_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda name, appauthor: tmp_path / name)
    assert load(None, {}).data_dir == load(None, {"EZAI_DATA_DIR": ""}).data_dir == tmp_path / "ezai"


@pytest.mark.parametrize("name", ["~no-such-user-of-this-machine/data", "loop"])
def test_a_data_directory_that_cannot_be(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SetupError, match="EZAI_DATA_DIR"):
        load(None, {"EZAI_DATA_DIR": name})


def test_the_data_directory_is_no_key_of_the_file(refused: Refused) -> None:
    error = refused('data_dir = "x"\n')
    assert error.key == "data_dir"
    assert "EZAI_DATA_DIR" in error.fix


def test_a_relative_model_stands_in_the_data_directory(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/my.gguf").write_bytes(gguf())
    text = '[[upstreams]]\nname = "local"\nkind = "embedded"\nmodel = "my.gguf"\n'
    config = loaded(text, {"EZAI_DATA_DIR": str(tmp_path / "data")})
    upstream = config.upstreams[0]
    assert isinstance(upstream, EmbeddedUpstream)
    assert resolve(upstream.model, config.data_dir).path == tmp_path / "data/my.gguf"


# Refusals.


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("prot = 1", "prot", "is no key"),
        ("[server]\nprot = 1", "server.prot", "is no key"),
        ("[servers]\nport = 1", "servers", "is no key"),
        (SERVER_UPSTREAM + "timeouts = { idel = 1 }", "upstreams.0.timeouts.idel", "is no key"),
        (SERVER_UPSTREAM + "slots = 1", "upstreams.0.slots", "is no key"),  # of another kind
        ('[server]\nport = "8080"', "server.port", "int"),
        ("[server]\nport = 8080.0", "server.port", "int"),
        ("[server]\nport = true", "server.port", "int"),
        ("[server]\nport = 65536", "server.port", "65535"),
        ("[server]\nport = -1", "server.port", "0"),
        ("[server]\nhost = 1979-05-27", "server.host", "str"),
        ('[server]\nstrict_version = "yes"', "server.strict_version", "bool"),
        ("[limits]\nbody_mib = 0", "limits.body_mib", "1"),
        ("[limits]\ncommit_after = 0", "limits.commit_after", "0"),
        ("[limits]\nkeep_alive = -1", "limits.keep_alive", "0"),
        ("[limits]\nkeep_alive = nan", "limits.keep_alive", "0"),
        (f"[limits]\nkeep_alive = {'9' * 400}", "limits.keep_alive", "range"),
        ('[log]\nlevel = "loud"', "log.level", "loud"),
        ('[log]\nformat = "xml"', "log.format", "xml"),
        ("server = 5", "server", "no table"),
        ("upstreams = 5", "upstreams", "array"),
        ("upstreams = [ 5 ]", "upstreams.0", "object"),
        ('[[upstreams]]\nname = "a"', "upstreams.0.kind", "missing"),
        ('[[upstreams]]\nkind = "embedded"', "upstreams.0.name", "missing"),
        ('[[upstreams]]\nname = "a"\nkind = "openai"', "upstreams.0.base_url", "missing"),
        ('[[upstreams]]\nname = "a"\nkind = "magic"', "upstreams.0.kind", "magic"),
        ('[[upstreams]]\nname = ""\nkind = "embedded"', "upstreams[0].name", "no name"),
        ('[[upstreams]]\nname = "a b"\nkind = "embedded"', "upstreams[0].name", "'a b'"),
        (f'[[upstreams]]\nname = "{"a" * 65}"\nkind = "embedded"', "upstreams[0].name", "no name"),
        (SERVER_UPSTREAM + SERVER_UPSTREAM, "upstreams[1].name", "taken"),
        (
            '[[upstreams]]\nname = "a"\nkind = "embedded"\n[[upstreams]]\nname = "b"\nkind = "embedded"',
            "upstreams",
            "more than one",
        ),
        ('[[routes]]\nmodel = "m"', "routes.0.targets", "missing"),
        ('[[routes]]\ntargets = [ { upstream = "a" } ]', "routes.0.model", "missing"),
        ('[[routes]]\nmodel = "m"\ntargets = [ { model = "m" } ]', "routes.0.targets.0.upstream", "missing"),
        (SERVER_UPSTREAM + '[[routes]]\nmodel = "m"\ntargets = []', "routes[0].targets", "no target"),
        (
            SERVER_UPSTREAM + '[[routes]]\nmodel = "m"\ntargets = [ { upstream = "a" }, { upstream = "a" } ]',
            "routes[0].targets[1]",
            "the same as targets[0]",
        ),
        (
            SERVER_UPSTREAM + '[[routes]]\nmodel = "m"\ntargets = [ { upstream = "a", context = 0 } ]',
            "routes.0.targets.0.context",
            ">= 1",
        ),
        (
            SERVER_UPSTREAM
            + '[[routes]]\nmodel = "m"\ntargets = [ { upstream = "a" } ]\ntimeouts = { first_byte = 1 }',
            "routes.0.timeouts.first_byte",
            "no key",
        ),
        (
            SERVER_UPSTREAM + '[[routes]]\nmodel = "m"\ntargets = [ { upstream = "a" } ]\ntimeouts = { idle = 0 }',
            "routes.0.timeouts.idle",
            "> 0",
        ),
        (SERVER_UPSTREAM + "max_retries = -1", "upstreams.0.max_retries", ">= 0"),
        (SERVER_UPSTREAM + "max_retries = 4", "upstreams.0.max_retries", "<= 3"),
        (
            SERVER_UPSTREAM + '[[routes]]\nmodel = "m"\ntargets = [ { upstream = "b" } ]',
            "routes[0].targets[0].upstream",
            "'b'",
        ),
    ],
)
def test_a_refusal_names_file_key_and_problem(text: str, key: str, problem: str, file: Path, refused: Refused) -> None:
    error = refused(text)
    assert (error.where, error.key) == (str(file), key)
    assert problem in error.problem
    assert "\n" not in str(error)


def test_an_unknown_upstream_is_answered_with_those_there_are(refused: Refused) -> None:
    text = SERVER_UPSTREAM + SERVER_UPSTREAM.replace('"a"', '"b"')
    error = refused(text + '[[routes]]\nmodel = "m"\ntargets = [ { upstream = "c" } ]\n')
    assert "a, b" in error.fix


@pytest.mark.parametrize(
    "base_url",
    ["http://localhost", "http://127.0.0.1:11434", "http://[::1]:8000/v1", "http://host.example/a/b/", "HTTP://h"],
)
def test_a_base_url(base_url: str, loaded: Load) -> None:
    upstream = loaded(SERVER_UPSTREAM.replace("http://127.0.0.1:1", base_url)).upstreams[0]
    assert isinstance(upstream, OpenAIUpstream)
    assert upstream.base_url == base_url


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "localhost:8000",
        "//localhost",
        "ftp://localhost",
        "http://",
        "http://:80",
        "http://localhost:0",
        "http://localhost:65536",
        "http://localhost:x",
        "http://[::1",
        "http://user@localhost",
        "http://user:secret@localhost",
        "http://:secret@localhost",
        "http://@localhost",
        "http://localhost?q=1",
        "http://localhost?",
        "http://localhost#f",
        "http://localhost/ v1",
        "http://localhost/\u00e9",
        "http://\u00e9",
        "http://local host",
    ],
)
def test_a_base_url_that_cannot_be_asked(base_url: str, refused: Refused) -> None:
    error = refused(SERVER_UPSTREAM.replace("http://127.0.0.1:1", base_url))
    assert error.key == "upstreams[0].base_url"
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('api_key = "sk\\n"', "upstreams[0].api_key"),
        ('headers = { "a b" = "x" }', "upstreams[0].headers"),
        ('headers = { "\u00e9" = "x" }', "upstreams[0].headers"),
        ('headers = { x = "a\\nb: c" }', "upstreams[0].headers"),
        ('headers = { host = "x" }', "upstreams[0].headers"),
        ('headers = { Content-Length = "1" }', "upstreams[0].headers"),
        ('api_key = "sk"\nheaders = { Authorization = "Bearer other" }', "upstreams[0]"),  # two credentials
    ],
)
def test_a_header_that_cannot_be_sent(line: str, key: str, refused: Refused) -> None:
    assert refused(SERVER_UPSTREAM + line + "\n").key.startswith(key)


@pytest.mark.parametrize(
    "text",
    [
        "port",
        "[server",
        "[server]\nport = ",
        "[server]\nport = 1\nport = 2",
        "a = 2026-02-30",
        pytest.param("a = " + "[" * 5000 + "]" * 5000, id="deep"),
        pytest.param("[server]\nport = " + "9" * 5000, id="long-number"),
    ],
)
def test_what_is_not_toml(text: str, file: Path, refused: Refused) -> None:
    error = refused(text)
    assert (error.where, error.key) == (str(file), "file")
    assert "TOML" in error.problem


def test_what_is_not_utf_8(refused: Refused) -> None:
    error = refused(b'[server]\nhost = "\xe9"\n')
    assert (error.key, "UTF-8" in error.fix) == ("file", True)


def test_a_file_that_is_not_there(file: Path) -> None:
    for path, environ in ((file, {}), (None, {"EZAI_CONFIG": str(file)})):
        with pytest.raises(ConfigurationError, match="does not exist") as caught:
            load(path, environ)
        assert caught.value.where == str(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        load(tmp_path, {})
    assert caught.value.where == str(tmp_path)


# Any nonsense.


def toml_tables(name: str, *tables: dict[str, Any]) -> str:
    """An array of tables, to go on a document with."""
    return "".join(f"[[{name}]]\n{toml(table)}" for table in tables)


def toml(value: dict[str, Any]) -> str:
    """A value as TOML, tables inline; the outermost one is a document."""
    return "".join(f"{_string(key)} = {_inline(item)}\n" for key, item in value.items())


def _inline(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _string(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case list():
            return f"[{', '.join(map(_inline, value))}]"
        case dict():
            return "{" + ", ".join(f"{_string(key)} = {_inline(item)}" for key, item in value.items()) + "}"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
    return str(value)


def _string(text: str) -> str:
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


KEYS = sorted(
    {"kind", *Config.__struct_fields__}.union(
        *(
            section.__struct_fields__
            for section in (
                ServerConfig, LimitsConfig, LogConfig, TimeoutsConfig, RouteConfig, TargetConfig,
                *get_args(configuration.UpstreamConfig),
            )
        )
    )
)  # fmt: skip
texts = st.sampled_from(["a", "b", "embedded", "openai", "info", "http://h:1", "*", "${SET}", "${UNSET}"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
leaves = (
    texts | st.integers() | st.floats() | st.booleans() | st.dates() | st.times() | st.datetimes() | st.just(10**30)
)
names = st.sampled_from(KEYS) | texts
nonsense = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))
almost_upstreams = st.fixed_dictionaries(
    {"name": texts, "kind": st.sampled_from(["embedded", "openai"])},
    optional={"base_url": texts, "model": texts, "slots": leaves, "headers": st.dictionaries(texts, texts, max_size=2)},
)
almost_routes = st.fixed_dictionaries(
    {"model": texts, "targets": st.lists(st.fixed_dictionaries({"upstream": texts}), max_size=2)}
)
almost_right = st.fixed_dictionaries(
    {},
    optional={
        "server": st.dictionaries(names, leaves, max_size=2),
        "limits": nonsense,
        "upstreams": st.lists(almost_upstreams, max_size=3),
        "routes": st.lists(almost_routes, max_size=2),
    },
)


def loads_or_is_refused(text: bytes, directory: Path) -> None:
    file = directory / "ezai.toml"
    file.write_bytes(text)
    try:
        config = load(file, {"SET": "set", "EZAI_DATA_DIR": "/data"})
    except ConfigurationError as refusal:
        assert refusal.where == str(file)
        return
    upstreams = [upstream.name for upstream in config.upstreams]
    assert len(set(upstreams)) == len(upstreams) > 0
    assert config.routes
    for route in config.routes:
        assert [target.upstream for target in route.targets if target.upstream in upstreams]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nonsense")


@given(st.dictionaries(names, nonsense, max_size=4) | almost_right)
def test_any_nonsense_is_a_configuration_or_refused(directory: Path, value: dict[str, Any]) -> None:
    loads_or_is_refused(toml(value).encode(), directory)


@given(st.binary() | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode))
def test_any_bytes_are_a_configuration_or_refused(directory: Path, text: bytes) -> None:
    loads_or_is_refused(text, directory)


@given(st.dictionaries(names, nonsense, max_size=4))
def test_the_nonsense_is_toml(value: dict[str, Any]) -> None:
    read = tomllib.loads(toml(value))
    assert repr(read) == repr(value).replace(", fold=1", "")
