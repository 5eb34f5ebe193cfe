"""Configuration: one TOML file, every key optional, validated once into immutable values.

An unknown key or a bad value is refused with file, key, what was wrong and how to fix it. `${NAME}` in a string takes
an environment variable. The environment names of the interface (`EZAI_HOST`, ...) stand above the file, the command
line above both.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ezai.errors import ConfigurationError
from ezai.policy.origins import origin_problem
from ezai.policy.walk import MAX_ATTEMPTS
from ezai.protocol.validation import Kind, read_problem
from ezai.upstreams.http.request import RequestWriter

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Usd = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Retries = Annotated[int, msgspec.Meta(ge=0, le=MAX_ATTEMPTS - 1)]

MAX_PORT = 65535
MAX_WORKERS = 256
Workers = Annotated[int, msgspec.Meta(ge=1, le=MAX_WORKERS)]
LEVELS = ("debug", "info", "warning", "error")
DEFAULT_MODEL = "smollm2-135m"
DEFAULT_UPSTREAM = "local"

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ServerConfig(_Section, frozen=True):
    """Where and how the gateway listens."""

    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Workers = 1
    tls_certificate: str = ""
    tls_key: str = ""
    http2: bool = False
    cors_origins: list[str] = []
    strict_version: bool = False


class LimitsConfig(_Section, frozen=True):
    """Sizes and times, per process or stream."""

    body_mib: Positive = 32
    header_kib: Positive = 32
    connections: Positive = 4000
    streams: Positive = 2000
    event_mib: Positive = 8
    queue_kib: Positive = 256
    reader_stall: Seconds = 60
    request_receive: Seconds = 60
    drain: Seconds = 120
    commit_after: Seconds = 10
    keep_alive: Seconds = 10


class StoreConfig(_Section, frozen=True):
    """Where keys and the record of use are kept."""

    url: str = "sqlite:///ezai.db"


class PriceConfig(_Section, frozen=True):
    """What a model costs, in USD per million tokens; above the price library. An unsaid cache price is the input's."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None


class LogConfig(_Section, frozen=True):
    """What is logged, and in which form; prompts never are."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class TimeoutsConfig(_Section, frozen=True):
    """Seconds per phase of an exchange with an upstream; a whole answer's headers have the time of first_event too."""

    connect: Seconds = 5
    response_headers: Seconds = 300
    first_event: Seconds = 300
    idle: Seconds = 120
    total: Seconds = 3600


class RouteTimeoutsConfig(_Section, frozen=True):
    """The same for one route, above its upstreams'; what is not said is theirs."""

    connect: Seconds | None = None
    response_headers: Seconds | None = None
    first_event: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None


class EmbeddedUpstream(_Section, frozen=True, tag_field="kind", tag="embedded"):
    """A model that runs beside the gateway; `model` is a catalogue name, a GGUF file or hf:OWNER/REPO/FILE.gguf."""

    name: str
    model: str = DEFAULT_MODEL
    context: Positive = 8192
    slots: Positive = 4
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    timeouts: TimeoutsConfig = TimeoutsConfig()
    max_retries: Retries = 2


class AnthropicUpstream(_Section, frozen=True, tag_field="kind", tag="anthropic"):
    """An Anthropic or Anthropic-compatible server. `base_url` is as the Anthropic SDKs take it."""

    name: str
    base_url: str = "https://api.anthropic.com"
    api_key: str = ""
    auth: Literal["auto", "x-api-key", "bearer"] = "auto"
    headers: dict[str, str] = {}
    ca_file: str = ""
    proxy: str = "env"
    strip_betas: list[str] = []
    strip_fields: list[str] = []
    timeouts: TimeoutsConfig = TimeoutsConfig()
    max_retries: Retries = 2


class OpenAIUpstream(_Section, frozen=True, tag_field="kind", tag="openai"):
    """An OpenAI-compatible server. `base_url` is as the OpenAI SDKs take it; without a path, /v1 is meant."""

    name: str
    base_url: str
    api_key: str = ""
    headers: dict[str, str] = {}
    ca_file: str = ""
    proxy: str = "env"
    strip_fields: list[str] = []
    mid_system: Literal["fold", "native", "hoist"] = "fold"
    timeouts: TimeoutsConfig = TimeoutsConfig()
    max_retries: Retries = 2


UpstreamConfig = EmbeddedUpstream | AnthropicUpstream | OpenAIUpstream


class TargetConfig(_Section, frozen=True):
    """One place a route leads to; without `model` the name that was asked for is kept.

    `context` declares how many tokens the model holds; an embedded model's is that of its upstream.
    """

    upstream: str
    model: str | None = None
    context: Positive | None = None
    max_output: Positive | None = None


class RouteConfig(_Section, frozen=True):
    """Which models go where: a glob over the requested name, first match wins. Targets are asked in their order."""

    model: str
    targets: list[TargetConfig]
    display_name: str = ""
    timeouts: RouteTimeoutsConfig = RouteTimeoutsConfig()


class Config(_Section, frozen=True):
    """The whole of it. Immutable; a reload makes a new one."""

    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    store: StoreConfig = StoreConfig()
    log: LogConfig = LogConfig()
    prices: dict[str, PriceConfig] = {}
    upstreams: list[UpstreamConfig] = []
    routes: list[RouteConfig] = []
    data_dir: Path = Path()
    """Not a key of the file: EZAI_DATA_DIR, else the platform's user data directory."""


def load(
    path: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
) -> Config:
    """Read, check and complete the configuration.

    `path` None takes EZAI_CONFIG, else no file. Raises `ConfigurationError`. What comes back is consistent: every
    target names an upstream, there is at least one upstream and one route.
    """
    if path is None and environ.get("EZAI_CONFIG"):
        path = Path(environ["EZAI_CONFIG"])
    where = str(path) if path else "environment"
    document = _read(path) if path else {}
    document = _expanded(document, environ, where, "")
    _convert(document, where)  # first alone, so that a mistake is looked for where it is
    _overlay(document, environ)
    _overlay_command_line(document, host, port, workers)
    config = _convert(document, where)
    config = msgspec.structs.replace(config, data_dir=data_dir(environ))
    return _completed(_checked(config, where))


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """EZAI_DATA_DIR, else the platform's user data directory. Not created here."""
    if chosen := environ.get("EZAI_DATA_DIR"):
        try:
            return Path(chosen).expanduser().resolve(strict=False)
        except (OSError, RuntimeError, ValueError) as error:
            problem = f"cannot be a directory: {error}"
            raise ConfigurationError("environment", "EZAI_DATA_DIR", problem, "Name another.") from None
    from platformdirs import user_data_path

    path: Path = user_data_path("ezai", appauthor=False)
    return path


# Reading.


def _read(path: Path) -> dict[str, Any]:
    where = str(path)
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(where, "file", "does not exist", "Name a TOML file, or leave --config out.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(where, "file", f"cannot be read ({error})", "Make it readable, in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(where, "file", f"is not TOML: {error}", "Mend that line.") from None
    except (RecursionError, ValueError):  # nested without end; a number of thousands of digits
        raise ConfigurationError(where, "file", "is not TOML that anybody writes", "Mend it.") from None


def _expanded(value: Any, environ: Mapping[str, str], where: str, key: str) -> Any:
    """The value with `${NAME}` replaced in every string of it."""
    if isinstance(value, dict):
        return {name: _expanded(item, environ, where, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, environ, where, f"{key}[{place}]") for place, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ConfigurationError(where, key, f"the environment variable {match[1]} is not set", "Set it.")
        return environ[match[1]]

    return _VARIABLE.sub(variable, value)


def _overlay(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put the environment over the file. What is bad is named by where it came from."""
    if environ.get("EZAI_HOST"):
        _put(document, "server", "host", environ["EZAI_HOST"])
    if environ.get("EZAI_PORT"):
        _put(document, "server", "port", checked_port(environ["EZAI_PORT"], "environment", "EZAI_PORT"))
    if environ.get("EZAI_LOG"):
        level = environ["EZAI_LOG"].lower()
        if level not in LEVELS:
            raise ConfigurationError("environment", "EZAI_LOG", f"{level!r} is no level", f"Use {', '.join(LEVELS)}.")
        _put(document, "log", "level", level)


def _overlay_command_line(document: dict[str, Any], host: str | None, port: int | None, workers: int | None) -> None:
    """Put the command line over that."""
    if host is not None:
        _put(document, "server", "host", host)
    if port is not None:
        _put(document, "server", "port", checked_port(port))
    if workers is not None:
        if not 1 <= workers <= MAX_WORKERS:
            fix = f"Give a number from 1 to {MAX_WORKERS}."
            raise ConfigurationError("command line", "--workers", f"{workers} workers are not offered", fix)
        _put(document, "server", "workers", workers)


def _put(document: dict[str, Any], section: str, key: str, value: object) -> None:
    document.setdefault(section, {})[key] = value


def checked_port(given: int | str, where: str = "command line", key: str = "--port") -> int:
    """The port that was given. Raises `ConfigurationError` where it is none."""
    if not re.fullmatch(r"[0-9]{1,5}", str(given)) or int(given) > MAX_PORT:
        shown = given if len(str(given)) < 20 else f"{str(given)[:20]}…"
        raise ConfigurationError(where, key, f"{shown!r} is no port", "Give one, such as 8080.")
    return int(given)


# Checking.


def _convert(document: dict[str, Any], where: str) -> Config:
    if "data_dir" in document:
        raise ConfigurationError(where, "data_dir", "is no key of the file", "Set EZAI_DATA_DIR.")
    try:
        return msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise _refused(where, str(error)) from None


def _refused(where: str, error: str) -> ConfigurationError:
    problem = read_problem(error)
    match problem.kind:
        case Kind.UNKNOWN:
            return ConfigurationError(where, problem.path, "is no key of the configuration", "Check its spelling.")
        case Kind.MISSING:
            return ConfigurationError(where, problem.path, "is missing", "Add it.")
        case _ if problem.text.startswith("Expected object"):
            return ConfigurationError(where, problem.path or "file", f"is no table: {problem.text}", "Write it as one.")
        case _:
            return ConfigurationError(where, problem.path or "file", problem.text, "Correct the value.")


def _checked(config: Config, where: str) -> Config:
    if bool(config.server.tls_certificate) != bool(config.server.tls_key):
        raise ConfigurationError(where, "server", "has one of tls_certificate and tls_key", "Name both, or neither.")
    for place, origin in enumerate(config.server.cors_origins):
        if problem := origin_problem(origin):
            raise ConfigurationError(where, f"server.cors_origins[{place}]", *problem)
    names = [upstream.name for upstream in config.upstreams]
    for place, upstream in enumerate(config.upstreams):
        key = f"upstreams[{place}]"
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", upstream.name):
            fix = "Use letters, digits, '.', '_' and '-'."
            raise ConfigurationError(where, f"{key}.name", f"{upstream.name!r} is no name", fix)
        if names.index(upstream.name) != place:
            raise ConfigurationError(where, f"{key}.name", f"{upstream.name!r} is taken", "Give each its own name.")
        if not isinstance(upstream, EmbeddedUpstream):
            _check_server(where, key, upstream)
    if sum(isinstance(upstream, EmbeddedUpstream) for upstream in config.upstreams) > 1:
        raise ConfigurationError(where, "upstreams", "more than one is embedded", "Keep one.")
    for place, route in enumerate(config.routes):
        _check_route(where, f"routes[{place}]", route, names)
    return config


def _check_server(where: str, key: str, upstream: AnthropicUpstream | OpenAIUpstream) -> None:
    """Let the HTTP client judge what it would be given; what it says holds no value."""
    try:
        RequestWriter(upstream.base_url)
        if re.search(r":0+(/|$)|[?]", upstream.base_url):
            raise ValueError("the base URL must hold neither port 0 nor a query")
    except ValueError as error:
        fix = "Write https://HOST or http://HOST:PORT, and a credential under api_key."
        raise ConfigurationError(where, f"{key}.base_url", str(error), fix) from None
    fields = [(name.lower().encode(), value.encode()) for name, value in upstream.headers.items()]
    if upstream.api_key and {b"authorization", b"x-api-key"} & {name for name, _ in fields}:
        raise ConfigurationError(where, key, "has two credentials, in api_key and in headers", "Keep one.")
    for name, tried in (("headers", fields), ("api_key", [(b"x-api-key", upstream.api_key.encode())])):
        try:
            RequestWriter(upstream.base_url, tried)
        except ValueError as error:
            raise ConfigurationError(where, f"{key}.{name}", str(error), "Take it out, or correct it.") from None


def _check_route(where: str, key: str, route: RouteConfig, names: list[str]) -> None:
    if not route.targets:
        raise ConfigurationError(where, f"{key}.targets", "there is no target", "Name at least one upstream.")
    places = [(target.upstream, target.model) for target in route.targets]
    for place, target in enumerate(route.targets):
        at = f"{key}.targets[{place}]"
        if target.upstream not in names:
            known = f"Name one of: {', '.join(names) or 'none is configured'}."
            raise ConfigurationError(where, f"{at}.upstream", f"there is no upstream {target.upstream!r}", known)
        if (first := places.index(places[place])) != place:
            fix = "Take it out; max_retries of the upstream says how often a target is asked again."
            raise ConfigurationError(where, at, f"is the same as targets[{first}]", fix)


def _completed(config: Config) -> Config:
    """Without upstreams, the embedded default model; without routes, every model name goes to the first upstream."""
    upstreams: list[UpstreamConfig] = config.upstreams or [EmbeddedUpstream(name=DEFAULT_UPSTREAM)]
    embedded = [upstream for upstream in upstreams if isinstance(upstream, EmbeddedUpstream)]
    routes = config.routes
    if not routes:
        first = embedded[0] if embedded else upstreams[0]
        routes = [RouteConfig(model="*", targets=[TargetConfig(upstream=first.name)])]
    return msgspec.structs.replace(config, upstreams=upstreams, routes=routes)
