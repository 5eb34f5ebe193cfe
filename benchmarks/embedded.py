"""The embedded model, as a user meets it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import httpx2
import msgspec

from benchmarks.lab import Lab
from benchmarks.machine import resident_kib
from benchmarks.processes import gateway
from benchmarks.table import Row

DATA_DIR = Path(__file__).parents[1] / ".data"
"""Where `make setup` has put the model."""
SHORT_PROMPT = "Say hello."
LONG_PROMPT = "Tell me a very long story about a dragon, with many chapters."
ASKED = 20


def embedded(lab: Lab) -> list[Row]:
    """First token, warm; and what else is good to know of the model, for which nothing is promised."""
    config = f'[store]\nurl = "sqlite:///{lab.folder}/embedded.db"\n'
    with (
        gateway(lab.folder / "embedded", config, cores=None, has_key=False, data_dir=DATA_DIR) as ours,
        httpx2.Client(base_url=ours.url, timeout=120, trust_env=False) as client,
    ):
        first_and_whole(client, SHORT_PROMPT, 8)
        firsts = sorted(1000 * first_and_whole(client, SHORT_PROMPT, 8)[0] for _ in range(ASKED))
        first_s, whole_s, tokens = first_and_whole(client, LONG_PROMPT, 200)
        mib = resident_kib(ours.pid) / 1024
    return [
        Row(
            figure="embedded model: first token, warm, short prompt",
            measured=statistics.median(firsts), unit=" ms", hold=200, reach=50, digits=0,
            detail=f"median of {ASKED}, the slowest {firsts[-1]:.0f} ms", runs={"ms": firsts},
        ),
        Row(figure="embedded model: start to ready", measured=ours.ready_s, unit=" s", digits=2),
        Row(figure=f"embedded model: first text of {tokens} tokens, sooner than the whole",
            measured=whole_s / first_s, unit="x", digits=0),
        Row(figure="embedded model: rate", measured=tokens / (whole_s - first_s), unit=" tokens/s", digits=0),
        Row(figure="embedded model: memory of the gateway beside it", measured=mib, unit=" MiB"),
    ]  # fmt: skip


def first_and_whole(client: httpx2.Client, prompt: str, max_tokens: int) -> tuple[float, float, int]:
    """Seconds to the first text and to the end of one answer, and its output tokens.

    Raises `RuntimeError` or `httpx2.HTTPError` where it did not come whole: then there is nothing to measure.
    """
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "m", "max_tokens": max_tokens, "stream": True, "messages": messages}
    asked_s = time.perf_counter()
    first_s, tokens, is_whole = 0.0, 0, False
    with client.stream("POST", "/v1/messages", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            is_whole |= '"message_stop"' in line
            if not first_s and "text_delta" in line:
                first_s = time.perf_counter() - asked_s
            if line.startswith("data: ") and '"message_delta"' in line:
                tokens = msgspec.json.decode(line[6:])["usage"]["output_tokens"]
    if not (is_whole and first_s and tokens):
        raise RuntimeError(f"the embedded model's answer to {prompt!r} did not come whole")
    return first_s, time.perf_counter() - asked_s, tokens
