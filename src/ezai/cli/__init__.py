"""The command line. Commands import what they need when they run, so that `ezai serve` stays small.

__init__.py         the arguments of every command, and how failures are told
serve.py            ezai serve
check.py            ezai check
check_machine.py    what it looks at on this machine
check_upstreams.py  what it asks of each upstream
findings.py         what it finds out
models.py           ezai models list | pull
chat/               ezai chat
keys.py             ezai keys create | list | show | revoke
usage.py            ezai usage
lab.py              ezai mock, ezai bench
arguments.py        kinds of arguments that several commands take
output.py           stdout, and what cannot be written to it
tables.py           where tables are printed to
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ezai import __version__
from ezai.cli.check import add_check
from ezai.cli.keys import add_keys
from ezai.cli.lab import add_bench, add_mock
from ezai.cli.output import OutputError, drop_unwritten, guarded_stdout
from ezai.cli.usage import add_usage
from ezai.errors import EzaiError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0, 1 for a failure told in one line, 2 for bad arguments, 130 for Ctrl-C, and 141 where whoever read the output
    stopped reading: then nothing is said, as of any command that SIGPIPE ends.
    """
    try:
        with guarded_stdout():
            return _run(arguments)
    except OutputError as error:
        if isinstance(error.cause, BrokenPipeError):
            return _BROKEN_PIPE
        return _failed(f"what it prints cannot be written ({error.cause.strerror}).")
    except EzaiError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return 130


_BROKEN_PIPE = 128 + 13  # SIGPIPE, as shells tell it


def _run(arguments: Sequence[str] | None) -> int:
    parsed = _parser().parse_args(arguments)
    status: int = parsed.run(parsed)
    return status


def _failed(why: str) -> int:
    with suppress(OSError):  # stderr is not read either: the status tells it
        print(f"ezai: {why}", file=sys.stderr)
    drop_unwritten(sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ezai", description="A streaming AI gateway with a model of its own.")
    parser.add_argument("--version", action="version", version=f"ezai {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    add_check(commands)
    _add_models(commands)
    add_keys(commands)
    add_usage(commands)
    _add_chat(commands)
    add_mock(commands)
    add_bench(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("serve", help="run the gateway")
    _add_config(command)
    command.add_argument("--host", help="address to listen on (127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (8080; 0 takes a free one)")
    command.add_argument("--workers", type=int, metavar="N", help="processes that serve (1)")
    command.set_defaults(run=_run_serve)


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("models", help="models that can run embedded")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="which there are, and which are here")
    listing.set_defaults(run=_run_models_list)
    pulling = actions.add_parser("pull", help="bring one here")
    pulling.add_argument("name", metavar="NAME", help="a name of `ezai models list`")
    pulling.set_defaults(run=_run_models_pull)
    for action in (listing, pulling):
        told = "as for every command; where models are kept, EZAI_DATA_DIR alone tells"
        action.add_argument("--config", type=Path, metavar="FILE", help=told)


def _add_chat(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("chat", help="talk to a running gateway")
    _add_config(command)
    command.add_argument("--model", help="model to ask (the gateway's first)")
    command.add_argument(
        "--url", help="base URL of the gateway (EZAI_URL, ANTHROPIC_BASE_URL, else the configured address)"
    )
    told = "ask this and leave; without it, ask what is piped in, or converse"
    command.add_argument("prompt", nargs="?", metavar="PROMPT", help=told)
    command.set_defaults(run=_run_chat)


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="configuration, in TOML (EZAI_CONFIG)")


def _run_serve(parsed: argparse.Namespace) -> int:
    from ezai.cli.serve import serve

    return serve(parsed.config, parsed.host, parsed.port, parsed.workers)


def _run_models_list(parsed: argparse.Namespace) -> int:
    from ezai.cli.models import list_models

    return list_models()


def _run_models_pull(parsed: argparse.Namespace) -> int:
    from ezai.cli.models import pull

    return pull(parsed.name)


def _run_chat(parsed: argparse.Namespace) -> int:
    from ezai.cli.chat import chat

    return chat(parsed.config, parsed.url, parsed.model, parsed.prompt)
