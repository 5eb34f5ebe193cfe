"""The process that runs the embedded model: `python -m ezai.supervise.embedded_child`.

It imports the standard library and the model's runtime, nothing of the gateway. It speaks with its parent so:

    stdin   one JSON line of settings (`Settings`), then silence; its end means that the parent is gone
    stdout  one JSON line: {"address": ..., "port": ..., "context": ..., "bare_calls": ..., "grammars": ...} when the
            model answers there ("context" is what one slot has, in tokens, or 0 where it cannot be told; "bare_calls"
            whether its chat template writes tool calls as JSON with no mark before it; "grammars" whether an answer is
            held to a grammar from its beginning on), or {"error": code}; see `ERRORS`
    stderr  the log of llama.cpp, paths and all

The end of stdin ends it at once. While a model loads no Python runs (the runtime holds the interpreter's lock), so on
Linux the kernel is asked as well to kill it with its parent. Signals that a terminal or a service manager sends to
the whole process group are ignored: the parent decides when running answers end, and the child goes with it.
"""

from __future__ import annotations

import http.client
import json  # noqa: TID251  the gateway's JSON library would be one more import here
import os
import re
import signal
import sys
from typing import Any, NamedTuple, NoReturn, TypedDict

ERRORS = ("runtime_missing", "load_failed")
"""The codes of {"error": code}: xllamacpp cannot be imported; llama.cpp refused the model or the settings."""

ALIAS = "embedded"
"""What the model is called on the wire; without it llama.cpp tells the path of the file."""

_GROWTH_BYTES = 4 * 1024**3
"""Above what is mapped once the model is loaded: prompts, grammars, and the address space of threads."""
_CACHE_RAM_MIB = 512
_LOG_WARNINGS = 2
_PR_SET_PDEATHSIG = 1

_TOOL = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
_QUESTION = {"role": "user", "content": "What time is it?"}
_SAYING = [_QUESTION, {"role": "assistant", "content": "~"}, _QUESTION]
_CALL = {"id": "call00001", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
_CALLING = [
    _QUESTION,
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "call00001", "content": "12:00"},
]
_GRAMMAR = '%llguidance {}\nstart: "\\u001e" %json {"const":1}'
_GRAMMATICAL = "\x1e1"
_begins_as_json = re.compile(r"\s*\[?\s*\{").match


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
    die_with_parent(settings["parent_pid"])
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


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies, and end it now if that has happened."""
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
        child = _Answering(address, int(port), settings["api_key"])
        report = {
            "context": _slot_context(child),
            "bare_calls": _writes_bare_calls(child),
            "grammars": _keeps_grammars(child),
        }
    except Exception:  # noqa: BLE001  as above
        _log_exception()
        return None, {"error": "load_failed"}
    return server, {"address": address, "port": int(port), **report}


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


class _Answering(NamedTuple):
    """Where the model answers, to ask it about itself."""

    address: str
    port: int
    api_key: str

    def asked(self, method: str, path: str, body: object = None) -> Any:
        """Its answer, decoded. Raises what `_UNTOLD` lists."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=60)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Authorization": f"Bearer {self.api_key}"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


_UNTOLD = (OSError, ValueError, LookupError, TypeError, http.client.HTTPException)


def _slot_context(model: _Answering) -> int:
    """What a slot has after llama.cpp has held it to what the model was trained with."""
    try:
        return int(model.asked("GET", "/slots")[0]["n_ctx"])
    except _UNTOLD:
        return 0


def _writes_bare_calls(model: _Answering) -> bool:
    """Whether a call begins, in the prompt that the chat template makes of it, like any text with a brace in it."""
    try:
        said, called = (
            str(model.asked("POST", "/apply-template", {"messages": messages, "tools": [_TOOL]})["prompt"])
            for messages in (_SAYING, _CALLING)
        )
    except _UNTOLD:  # the template knows no calls
        return False
    parted_at = next((at for at, (one, other) in enumerate(zip(said, called, strict=False)) if one != other), 0)
    return _begins_as_json(called, parted_at) is not None


def _keeps_grammars(model: _Answering) -> bool:
    """Whether it says what such a grammar has it say, and nothing before; some templates want marks first."""
    body = {
        "messages": [_QUESTION],
        "grammar": _GRAMMAR,
        "max_tokens": 16,
        "reasoning_format": "none",
        "chat_template_kwargs": {"enable_thinking": False},
    }
    try:
        content = model.asked("POST", "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    except _UNTOLD:
        return False
    return isinstance(content, str) and content.endswith(_GRAMMATICAL)


def _log_exception() -> None:
    import traceback

    traceback.print_exc()


if __name__ == "__main__":
    main()
