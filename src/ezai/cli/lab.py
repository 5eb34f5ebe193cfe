"""`ezai mock` and `ezai bench`: the tools of the lab.

from ezai.cli.lab import add_bench, add_mock
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from ezai.lab.load.plan import LoadPlan
    from ezai.lab.mock.script import Script
    from ezai.lab.mock.server import Mock, Tls
    from ezai.lab.mock.unreachable import Unreachable

DEFAULT_PORT = 8090
DEFAULT_TOKENS = 50
DEFAULT_DURATION_S = 10.0
DEFAULT_CONCURRENCY = 10


def add_mock(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `ezai mock`."""
    command = commands.add_parser("mock", help="run a scripted upstream, to test against (docs/mock.md)")
    _add_config(command)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    command.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"port to listen on ({DEFAULT_PORT}; 0: a free one)"
    )
    choice = command.add_mutually_exclusive_group()
    choice.add_argument(
        "--script", type=Path, metavar="FILE", help="rules, in TOML: which request gets which behaviour"
    )
    choice.add_argument(
        "--behaviour", metavar="SPEC", help="one for every request, such as tokens=50,rate=20,cut_after=3"
    )
    command.add_argument(
        "--accept",
        metavar="KIND",
        help="what becomes of connections: serve, reset, close or deaf; refuse or black_hole: none comes about",
    )
    command.add_argument("--tls-certificate", type=Path, metavar="FILE", help="with --tls-key: answer over TLS")
    command.add_argument("--tls-key", type=Path, metavar="FILE")
    command.add_argument("--journal", type=Path, metavar="FILE", help="append what happened, as JSON lines")
    command.set_defaults(run=_run_mock)


def add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare `ezai bench`."""
    command = commands.add_parser("bench", help="put a load of streams on a URL and measure them")
    _add_config(command)
    command.add_argument("url", metavar="URL", help="base URL of a gateway or a model server")
    command.add_argument("--openai", action="store_true", help="ask /v1/chat/completions instead of /v1/messages")
    command.add_argument("--model", help="model to ask for (a mock's, with --tokens numbered tokens)")
    command.add_argument("--rate", type=float, help="new streams a second, open loop")
    command.add_argument("--concurrency", type=int, help=f"or so many at a time ({DEFAULT_CONCURRENCY} without --rate)")
    command.add_argument("--tokens", type=int, default=DEFAULT_TOKENS, help=f"tokens per answer ({DEFAULT_TOKENS})")
    command.add_argument("--token-rate", type=float, default=0.0, help="tokens a second that a mock gives (at once)")
    command.add_argument(
        "--duration", type=float, default=DEFAULT_DURATION_S, help=f"seconds of arrivals ({DEFAULT_DURATION_S:g})"
    )
    command.add_argument("--streams", type=int, default=0, help="end after so many")
    command.add_argument("--timeout", type=float, default=120.0, help="seconds for one stream (120)")
    command.add_argument("--unary", action="store_true", help="ask for whole answers instead of streams")
    command.add_argument("--leave-after", type=int, default=0, metavar="N", help="clients hang up after N events")
    command.add_argument("--leave-chance", type=float, default=1.0, metavar="P", help="with this probability (1)")
    command.add_argument(
        "--read-rate",
        type=float,
        default=0.0,
        metavar="B",
        help="clients read at most B bytes a second, with small buffers",
    )
    command.add_argument("--stop-after", type=int, default=0, metavar="N", help="clients stop reading after N events")
    command.add_argument("--key", help="credential (ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN)")
    command.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust, in PEM")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    command.set_defaults(run=_run_bench)


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="taken as everywhere; nothing in it is used here")


def _run_mock(parsed: argparse.Namespace) -> int:
    import asyncio

    from ezai.config import checked_port
    from ezai.errors import SetupError
    from ezai.lab.mock.server import Tls

    checked_port(parsed.port)
    if (parsed.tls_certificate is None) != (parsed.tls_key is None):
        raise SetupError("--tls-certificate and --tls-key go together.")
    tls = Tls(parsed.tls_certificate, parsed.tls_key) if parsed.tls_key else None
    script = _script(parsed)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_mock(script, tls, parsed))
    return 0


def _script(parsed: argparse.Namespace) -> Script:
    """What is to be answered, and to whom. Raises `SetupError`."""
    from ezai.errors import SetupError
    from ezai.lab.mock.script import Script, in_turn, load
    from ezai.lab.mock.spec import parse

    script = load(parsed.script) if parsed.script else Script()
    if parsed.behaviour is not None:
        script = in_turn([parse(parsed.behaviour, "--behaviour")])
    if parsed.accept is None:
        return script
    try:
        return script.accepting(parsed.accept)
    except ValueError as error:
        raise SetupError(f"--accept {parsed.accept}: use one of {error}.") from None


async def _mock(script: Script, tls: Tls | None, parsed: argparse.Namespace) -> None:
    """Run until told to stop."""
    import asyncio
    import signal

    from ezai.lab.mock.server import mock_upstream

    _raise_file_limit()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with mock_upstream(
        script=script,
        tls=tls,
        host=parsed.host,
        port=parsed.port,
        journal_file=parsed.journal,
        keeps_bodies=False,
    ) as mock:
        _announce(mock, script.unreachable)
        await stopping.wait()


def _announce(mock: Mock, unreachable: Unreachable | None) -> None:
    from ezai.lab.mock.unreachable import Unreachable

    lines = {
        None: [
            f"The mock is ready at {mock.url}",
            f"  Anthropic  base_url='{mock.url}'      model='mock-tokens=50,rate=20'",
            f"  OpenAI     base_url='{mock.url}/v1'",
            f"  journal    curl {mock.url}/mock/journal",
        ],
        Unreachable.REFUSE: [f"The mock refuses every connection at {mock.url}"],
        Unreachable.BLACK_HOLE: [f"The mock completes no handshake at {mock.url}"],
    }[unreachable]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _run_bench(parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> int:
    import asyncio

    from ezai.lab.load.run import run_load

    plan = _plan(parsed, environ)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        _raise_file_limit()
        result = runner.run(run_load(plan))
    print(result.as_json().decode() if parsed.json else result.as_table())
    return 0 if result.is_clean or _is_meant(plan) else 1


def _plan(parsed: argparse.Namespace, environ: Mapping[str, str]) -> LoadPlan:
    from ezai.errors import SetupError
    from ezai.lab.load.plan import LoadPlan, check_number

    for option in ("rate", "concurrency"):
        if getattr(parsed, option) == 0:  # in a plan it would say that there is none
            raise SetupError(f"--{option} 0: it has to be above 0.")
    check_number("--token-rate", parsed.token_rate, parsed.token_rate >= 0, "0 or more")
    mock_model = f"mock-tokens={parsed.tokens}" + (f",rate={parsed.token_rate:g}" if parsed.token_rate else "")
    concurrency = parsed.concurrency or (0 if parsed.rate else DEFAULT_CONCURRENCY)
    return LoadPlan(
        url=parsed.url,
        wire="openai" if parsed.openai else "anthropic",
        model=parsed.model or mock_model,
        max_tokens=parsed.tokens,
        is_streamed=not parsed.unary,
        rate=parsed.rate or 0.0,
        concurrency=concurrency,
        duration_s=parsed.duration,
        streams=parsed.streams,
        timeout_s=parsed.timeout,
        credential=parsed.key or _credential(environ),
        ca_file=parsed.ca_file,
        leave_after=parsed.leave_after,
        leave_chance=parsed.leave_chance,
        stop_after=parsed.stop_after,
        read_bytes_per_s=parsed.read_rate,
    ).checked()


def _is_meant(plan: LoadPlan) -> bool:
    """Whether the clients themselves leave streams unfinished, so that an exit status would tell nothing."""
    return bool(plan.leave_after or plan.stop_after)


def _credential(environ: Mapping[str, str]) -> str:
    """The key, from where the SDKs take it."""
    return next((environ[name] for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN") if environ.get(name)), "")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _raise_file_limit() -> None:
    """As many open files as the system allows: each stream is one."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
