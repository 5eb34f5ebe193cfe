"""`ezai chat`: a terminal conversation with a running gateway, over the same interface as any client.

conversation.py  turns: a question, its answer, Ctrl-C
gateway.py       asking the gateway: models, streams
answer.py        one answer as it comes: text, usage, figures
displays.py      what shows an answer; plain text for pipes
screen.py        Markdown on a terminal while it streams
blocks.py        Markdown cut into its blocks
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ezai import config
from ezai.cli.chat.conversation import Conversation
from ezai.cli.chat.displays import Display, PlainDisplay
from ezai.cli.chat.gateway import choose_model, connect
from ezai.errors import SetupError


def chat(
    config_file: Path | None,
    url: str | None,
    model: str | None,
    prompt: str | None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Ask `prompt`, or what is piped in, or converse until the end of input.

    Returns 0, 1 after an answer that was refused or broke off, 130 stopped. Raises `SetupError` when there is nobody
    to ask or nothing to ask for, and `BrokenPipeError` when nobody reads the answer any more.
    """
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read()
    if prompt is not None and not prompt.strip():
        raise SetupError("There is nothing to ask: give a PROMPT, or pipe one in.")
    base_url = url or environ.get("EZAI_URL") or environ.get("ANTHROPIC_BASE_URL") or _configured(config_file, environ)
    with asyncio.Runner() as runner:
        client = runner.run(connect(base_url, _credential(environ)))
        try:
            chosen = runner.run(choose_model(client, base_url, model))
            conversation = Conversation(runner, client, chosen, _display())
            return conversation.converse() if prompt is None else conversation.turn(prompt)
        finally:
            runner.run(client.aclose())


def _display() -> Display:
    if not sys.stdout.isatty() or os.environ.get("TERM") in {None, "", "dumb"}:
        return PlainDisplay()
    from ezai.cli.chat.screen import Screen

    return Screen()


def _credential(environ: Mapping[str, str]) -> str:
    """The key: the gateway's own name for it, or what the SDKs call it."""
    names = ("EZAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "EZAI_ADMIN_KEY")
    return next((environ[name] for name in names if environ.get(name)), "")


def _configured(config_file: Path | None, environ: Mapping[str, str]) -> str:
    server = config.load(config_file, environ).server
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{'https' if server.tls_certificate else 'http'}://{host}:{server.port}"
