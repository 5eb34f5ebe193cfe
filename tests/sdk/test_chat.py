"""`ezai chat` against a running gateway."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.gateway_process import GatewayProcess, clean_environment


def test_chat_prints_the_answer_and_a_status_line(brief_gateway: GatewayProcess) -> None:
    command = [sys.executable, "-m", "ezai", "chat", "Write a haiku about APIs", "--url", brief_gateway.url]
    ended = subprocess.run(
        command,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    *_, status = ended.stderr.splitlines()  # above it may stand that the answer reached the limit of its gateway
    counted = re.fullmatch(r"(\d+) tokens in · (\d+) out · first token after \d+ ms · \d+ tokens/s · \$0", status)
    assert counted, ended.stderr
    logged = brief_gateway.wait_for_log("request ended", model="smollm2-135m")
    assert (logged["prompt_tokens"], logged["output_tokens"]) == (int(counted[1]), int(counted[2]))
    assert logged["cause"] == "finished"
