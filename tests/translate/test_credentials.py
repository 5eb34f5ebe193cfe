"""The gateway's own credential in what an upstream says."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from ezai.errors import UpstreamRefused
from ezai.translate.base import ANTHROPIC, OPENAI_COMPATIBLE, UpstreamFacts
from ezai.translate.credentials import cut_from_bytes, cut_from_text, fields_without
from ezai.translate.pairs import translator_for

KEYS = ("sk-of-the-gateway", "token-of-the-gateway")
BOTH = [replace(facts, credentials=KEYS) for facts in (ANTHROPIC, OPENAI_COMPATIBLE)]


def test_every_one_is_cut_wherever_it_stands() -> None:
    said = "sk-of-the-gateway and token-of-the-gateway, sk-of-the-gateway"
    assert cut_from_text(said, KEYS) == "[credential] and [credential], [credential]"
    assert cut_from_bytes(said.encode(), KEYS) == b"[credential] and [credential], [credential]"
    assert cut_from_text(said, ()) == said


def test_fields_that_hold_one_are_left_out() -> None:
    fields = [(b"a", b"1"), (b"b", b"Bearer sk-of-the-gateway"), (b"c", b"")]
    assert fields_without(fields, KEYS) == [(b"a", b"1"), (b"c", b"")]
    assert fields_without(fields, ()) == fields


@pytest.mark.parametrize("facts", BOTH, ids=lambda facts: facts.dialect)
def test_a_refusal_is_told_without(facts: UpstreamFacts) -> None:
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "bad sk-of-the-gateway " * 40}}
    refusal = translator_for(facts, "m").refusal(400, (), msgspec.json.encode(said), "m")
    assert isinstance(refusal, UpstreamRefused)
    assert refusal.message.startswith("bad [credential] ")
    assert "sk-of" not in refusal.message, "it is cut before the message is cut to size"
    assert b"sk-of" not in (refusal.body or b"")


@pytest.mark.parametrize("facts", BOTH, ids=lambda facts: facts.dialect)
def test_headers_go_back_without(facts: UpstreamFacts) -> None:
    said = [(b"x-request-id", b"sk-of-the-gateway"), (b"request-id", b"sk-of-the-gateway"),
            (b"anthropic-note", b"token-of-the-gateway")]  # fmt: skip
    assert not translator_for(facts, "m").answer_headers(said)
