"""The child itself: what it imports, and how it goes when its parent goes. No model is loaded here."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ezai.supervise import embedded_child
from ezai.supervise.embedded import COMMAND
from tests.supervise.processes import watched


def _settings(**changed: object) -> bytes:
    settings = {
        "parent_pid": os.getpid(),
        "model_path": "/nonexistent/secret-file.gguf",
        "context": 64,
        "slots": 1,
        "threads": 0,
        "api_key": "k",
    }
    return json.dumps({**settings, **changed}).encode() + b"\n"


def _run(stdin: bytes, *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command or COMMAND, input=stdin, capture_output=True, check=False)


def test_it_imports_the_standard_library_alone_until_it_loads_the_model() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "import ezai.supervise.embedded_child\n"
        "print(*sorted(m for m in set(sys.modules) - before if m.partition('.')[0] not in sys.stdlib_module_names))"
    )
    done = _run(b"", sys.executable, "-c", script)
    assert done.stdout.split() == [b"ezai", b"ezai.supervise", b"ezai.supervise.embedded_child"]


def test_an_end_of_stdin_before_the_settings_is_an_end() -> None:
    done = _run(b"")
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_model_that_cannot_be_loaded_is_a_line_without_its_path() -> None:
    done = _run(_settings())
    assert json.loads(done.stdout) == {"error": "load_failed"}
    assert b"secret" not in done.stdout
    assert done.returncode == 1


def test_settings_that_llama_cpp_does_not_take_are_a_load_failure() -> None:
    assert json.loads(_run(_settings(context=1 << 40)).stdout) == {"error": "load_failed"}


def test_a_missing_runtime_is_told() -> None:
    script = "import sys; sys.modules['xllamacpp'] = None; from ezai.supervise import embedded_child as c; c.main()"
    done = _run(_settings(), sys.executable, "-c", script)
    assert json.loads(done.stdout) == {"error": "runtime_missing"}
    assert done.returncode == 1


def test_the_codes_that_it_tells_are_those_that_the_parent_knows() -> None:
    from ezai.supervise.embedded import _SENTENCES

    assert set(_SENTENCES) == set(embedded_child.ERRORS)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked")
def test_a_parent_that_died_before_the_settings_were_read_is_noticed() -> None:
    done = _run(_settings(parent_pid=1))
    assert (done.returncode, done.stdout) == (0, b"")


_ASKING_THE_KERNEL = """
import os, signal, sys
from ezai.supervise import embedded_child
embedded_child.die_with_parent(os.getppid())
print(os.getpid(), flush=True)
signal.pause()
"""
_PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked")
def test_it_is_killed_with_its_parent_though_its_stdin_stays_open() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, _ASKING_THE_KERNEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        with watched(int(parent.stdout.readline())) as grandchild:
            parent.kill()
            grandchild.wait()


_READY = """
import os, signal, sys
from ezai.supervise import embedded_child
embedded_child._ignore_group_signals()
answers = embedded_child._take_stdout()
print("said by some library")
embedded_child._forbid_core_dumps()
import resource
os.write(answers, b"%d %d\\n" % resource.getrlimit(resource.RLIMIT_CORE))
embedded_child._wait_for_end_of_stdin()
os._exit(7)
"""


def test_signals_to_the_group_are_ignored_and_the_end_of_stdin_is_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _READY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"0 0\n", "no core dumps, and nothing else on stdout"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child.send_signal(number)
        child.stdin.close()
        assert child.wait() == 7
