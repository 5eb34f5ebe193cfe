"""`ezai serve`."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from ezai import __version__, config
from ezai.config import Config, EmbeddedUpstream, ServerConfig
from ezai.models.catalogue import CATALOGUE, model_path
from ezai.models.verify import is_pulled
from ezai.observe.log import start_logging
from ezai.supervise.loop import event_loop
from ezai.supervise.service import Ready, check_start, run


def serve(config_file: Path | None, host: str | None, port: int | None, workers: int | None) -> int:
    """Run the gateway until it is told to stop. Raises `SetupError` for what keeps it from starting."""
    read = partial(config.load, config_file, host=host, port=port, workers=workers)
    settings = read()
    start_logging(settings.log.level, settings.log.format)
    _pull_missing(settings)
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        runner.run(run(settings, announce, reread=read))
    return 0


def announce(ready: Ready) -> None:
    """The banner: where the gateway is, what answers, and how to call it."""
    lines = [
        "",
        f"  EzAI {__version__} is ready at {ready.url}",
        f"  models    {', '.join(ready.models) or 'by the routes of the configuration'}",
        f"  keys      {_access(ready)}",
        *_workers(ready),
        "  speaks    Anthropic Messages: /v1/messages (stream and unary), count_tokens, /v1/models",
        "",
        f"  Chat      open {ready.url} in a browser, or: ezai chat {_where(ready)}'Write a haiku about APIs'",
        f"  Python    Anthropic(base_url='{ready.url}', api_key='sk-your-key')",
        f"  curl      curl --no-buffer {ready.url}/v1/messages -H 'content-type: application/json' \\",
        '              -d \'{"model":"claude-sonnet-4-5","max_tokens":256,"stream":true,'
        '"messages":[{"role":"user","content":"Hi"}]}\'',
        "",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _where(ready: Ready) -> str:
    """What `ezai chat` has to be told where it could look elsewhere by itself."""
    default = ServerConfig()
    is_default = ready.url == f"http://{default.host}:{default.port}"
    return "" if is_default and not any(map(os.environ.get, _LEADS_CHAT)) else f"--url {ready.url} "


_LEADS_CHAT = ("EZAI_URL", "ANTHROPIC_BASE_URL", "EZAI_CONFIG", "EZAI_HOST", "EZAI_PORT")
"""What moves `ezai chat` from the default address, where it is not told of another."""


def _access(ready: Ready) -> str:
    if ready.is_open:
        return "none: any credential or none is accepted, from this machine only"
    return "a valid one is required"


def _workers(ready: Ready) -> list[str]:
    if ready.workers == 1:
        return []
    return [f"  workers   {ready.workers}; [limits] connections and streams count in each of them"]


def _pull_missing(settings: Config) -> None:
    """Bring the embedded model when it is one of the catalogue and not here yet: one command is enough.

    Where the gateway could not start with it either, that is found out before.
    """
    for upstream in settings.upstreams:
        if isinstance(upstream, EmbeddedUpstream) and (model := CATALOGUE.get(upstream.model)):
            if model_path(model, settings.data_dir).exists() and is_pulled(model, settings.data_dir):
                continue
            check_start(settings)
            from rich.console import Console

            from ezai.cli.models import pull_with_progress

            pull_with_progress(model.name, Console(stderr=True))
