"""The process that runs the embedded model: `python -m ezai.supervise.embedded_child`.

It imports the standard library and the model's runtime, nothing of the gateway. It speaks with its parent so:

    stdin   one JSON line of settings (`Settings`), then silence; its end means that the parent is gone
    stdout  one JSON line: {"address": ..., "port": ..., "context": ...} when the model answers there ("context" is
            what one slot has, in tokens, or 0 where it cannot be told), or {"error": code}; see `ERRORS`
    stderr  the log of llama.cpp, paths and all

The end of stdin ends it at once. While a model loads no Python runs (the runtime holds the interpreter's lock), so on
Linux the kernel is asked as well to kill it with its parent. Signals that a terminal or a service manager sends to
the whole process group are ignored: the parent decides when running answers end, and the child goes with it.
"""

from __future__ import annotations

import http.client
import json  # noqa: TID251  the gateway's JSON library would be one more import here
import os
import signal
import sys
from typing import Any, NoReturn, TypedDict

ERRORS = ("runtime_missing", "load_failed")
"""The codes of {"error": code}: xllamacpp cannot be imported; llama.cpp refused the model or the settings."""

ALIAS = "embedded"
"""What the model is called on the wire; without it llama.cpp tells the path of the file."""

_GROWTH_BYTES = 4 * 1024**3
"""Above what is mapped once the model is loaded: prompts, grammars, and the address space of threads."""
_CACHE_RAM_MIB = 512
_LOG_WARNINGS = 2
_PR_SET_PDEATHSIG = 1


class Settings(TypedDict):
    """The line on stdin. `context` is tokens per slot; `threads` 0 leaves the number to llama.cpp."""

    parent_pid: int
    model_path: str
    context: int
    slots: int
    threads: int
    api_key: str


def main() -> NoReturn:
    """Load, report, and wait for the end of stdin. Returns by ending the process."""
    _ignore_group_signals()
    answers = _take_stdout()
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)  # the parent died before it said anything
    settings: Settings = json.loads(line)
    _die_with_parent(settings["parent_pid"])
    _forbid_core_dumps()
    server, report = _load(settings)
    _limit_growth()
    os.write(answers, json.dumps(report).encode() + b"\n")
    os.close(answers)
    if server is not None:
        _wait_for_end_of_stdin()
    # Not `sys.exit`: the runtime's threads may be in the middle of an answer, and no one waits for it.
    os._exit(0 if server is not None else 1)


# The process.


def _ignore_group_signals() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _take_stdout() -> int:
    """Keep stdout for the one line, and send whatever else is printed there to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the kernel was asked
        os._exit(0)


def _forbid_core_dumps() -> None:
    """A dump would hold people's prompts."""
    try:
        import resource
    except ImportError:  # not on this platform
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_growth() -> None:
    """A request that makes llama.cpp take memory without end ends this process, which is restarted, not the machine."""
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm", "rb") as statm:
        mapped_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    limit = mapped_bytes + _GROWTH_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _wait_for_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass


# The model.


def _load(settings: Settings) -> tuple[Any, dict[str, Any]]:
    """The running server, or None, and what to report of it."""
    try:
        import xllamacpp
    except Exception:  # noqa: BLE001  whatever it is, it is told as one word
        _log_exception()
        return None, {"error": "runtime_missing"}
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, settings))
        address, _, port = server.listening_address.rpartition("/")[2].rpartition(":")
        context = _slot_context(address, int(port), settings["api_key"])
    except Exception:  # noqa: BLE001  as above
        _log_exception()
        return None, {"error": "load_failed"}
    return server, {"address": address, "port": int(port), "context": context}


def _parameters(xllamacpp: Any, settings: Settings) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings["model_path"]
    parameters.model_alias = {ALIAS}
    parameters.n_ctx = settings["context"] * settings["slots"]  # llama.cpp divides it among the slots
    parameters.n_parallel = settings["slots"]
    if settings["threads"]:
        parameters.cpuparams.n_threads = settings["threads"]
        parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [settings["api_key"]]
    parameters.cors_origins = ""  # the default lets every web page in
    parameters.use_jinja = True
    parameters.ui = False
    parameters.endpoint_slots = True
    parameters.endpoint_props = False
    parameters.endpoint_metrics = False
    parameters.sse_ping_interval = 0  # the gateway keeps its clients fed itself
    parameters.cache_ram_mib = _CACHE_RAM_MIB  # of prompts seen before; the default is 8 GiB
    parameters.offline = True
    parameters.verbosity = _LOG_WARNINGS
    return parameters


def _slot_context(address: str, port: int, api_key: str) -> int:
    """What a slot has after llama.cpp has held it to what the model was trained with."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", "/slots", headers={"Authorization": f"Bearer {api_key}"})
        slots = json.loads(connection.getresponse().read())
        return int(slots[0]["n_ctx"])
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _log_exception() -> None:
    import traceback

    traceback.print_exc()


if __name__ == "__main__":
    main()
