"""Figures of a running gateway, as a table: `make bench`.

Each figure is what a user would see: the gateway is the real command in a process of its own, asked over a socket.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec

ROOT = Path(__file__).parents[1]
NO_MODEL = '[[upstreams]]\nname = "none"\nkind = "openai"\nbase_url = "http://127.0.0.1:9"\n'
SHORT_PROMPT = [{"role": "user", "content": "Say hello."}]
LONG_PROMPT = [{"role": "user", "content": "Tell me a very long story about a dragon, with many chapters."}]
RUNS = 20


@contextmanager
def gateway(config: str | None) -> Iterator[tuple[str, int, float]]:
    """A gateway on a free port: its URL, its process, and the seconds from its start to its first answer."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [sys.executable, "-m", "ezai", "serve", "--port", "0"]
        if config is not None:
            (Path(folder) / "ezai.toml").write_text(config)
            arguments += ["--config", str(Path(folder) / "ezai.toml")]
        environ = {**os.environ, "EZAI_DATA_DIR": str(ROOT / ".data")}
        started = time.perf_counter()
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, env=environ)
        try:
            url = _ready_url(process)
            httpx2.get(f"{url}/readyz").raise_for_status()
            yield url, process.pid, time.perf_counter() - started
        finally:
            process.terminate()
            process.communicate()


def _ready_url(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rb"ready at (http://\S+)", line):
            return found[1].decode()
    raise RuntimeError("the gateway did not start")


def resident_mib(pid: int) -> float:
    """Resident memory of one process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Rss:\s+(\d+) kB", text, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def first_and_whole(client: httpx2.Client, messages: object, max_tokens: int) -> tuple[float, float, int]:
    """Seconds to the first text and to the end of one answer, and its output tokens."""
    body = {"model": "m", "max_tokens": max_tokens, "stream": True, "messages": messages}
    asked = time.perf_counter()
    first, tokens = 0.0, 0
    with client.stream("POST", "/v1/messages", json=body) as response:
        for line in response.iter_lines():
            if not first and "text_delta" in line:
                first = time.perf_counter() - asked
            if line.startswith("data: ") and '"message_delta"' in line:
                tokens = msgspec.json.decode(line[6:])["usage"]["output_tokens"]
    return first, time.perf_counter() - asked, tokens


def main() -> None:
    rows: list[tuple[str, str, str]] = []
    starts = []
    for _ in range(5):
        with gateway(NO_MODEL) as (_url, pid, seconds):
            starts.append(seconds)
            idle_mib = resident_mib(pid)
    rows.append(("idle memory, no model", f"{idle_mib:.1f} MiB", "70 MiB"))
    rows.append(("start to ready, no model, median of 5", f"{statistics.median(starts):.2f} s", "1 s"))
    with gateway(None) as (url, pid, seconds), httpx2.Client(base_url=url, timeout=120) as client:
        rows.append(("start to ready, embedded model", f"{seconds:.2f} s", ""))
        first_and_whole(client, SHORT_PROMPT, 8)
        firsts = sorted(first_and_whole(client, SHORT_PROMPT, 8)[0] * 1000 for _ in range(RUNS))
        rows.append(
            (
                f"embedded: first token, warm, short prompt, of {RUNS}",
                f"median {statistics.median(firsts):.0f} ms, worst {firsts[-1]:.0f} ms",
                "200 ms",
            )
        )
        first, whole, tokens = first_and_whole(client, LONG_PROMPT, 200)
        rows.append((f"embedded: first text of {tokens} tokens", f"{whole / first:.0f} x sooner", "10 x"))
        rows.append(("embedded: rate", f"{tokens / (whole - first):.0f} tokens/s", ""))
        rows.append(("memory after that, gateway alone", f"{resident_mib(pid):.1f} MiB", ""))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'figure':{width}}  {'measured':32}  hold")
    for name, measured, hold in rows:
        print(f"{name:{width}}  {measured:32}  {hold}")


if __name__ == "__main__":
    main()
