"""Where the upstream's request is made, as dialogues: a large one elsewhere, and only where there is work to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ezai.protocol.anthropic.requests import LARGE_BYTES
from ezai.translate.base import UpstreamFacts
from tests.pipeline.fakes import ANTHROPIC, DONE, OPENAI_COMPATIBLE, Dialogue, FakeOffload, chunk
from tests.pipeline.test_dialogues import CLOSE, DELTA, OPEN, START, STOP

LARGE = "x" * LARGE_BYTES
MANY = "{" * (16 * 3001)
STRIPPING = replace(ANTHROPIC, strip_fields=(("metadata",),))


@pytest.mark.parametrize(
    ("facts", "system", "elsewhere"),
    [
        (OPENAI_COMPATIBLE, "", []),
        (OPENAI_COMPATIBLE, LARGE, ["request"]),
        (OPENAI_COMPATIBLE, MANY, ["request"]),
        (ANTHROPIC, LARGE, []),
        (STRIPPING, "", []),
        (STRIPPING, LARGE, ["request"]),
    ],
    ids=["small", "translated", "of many objects", "tapped", "stripped of nothing large", "stripped"],
)
def test_what_is_made_elsewhere(facts: UpstreamFacts, system: str, elsewhere: list[str]) -> None:
    with Dialogue(facts, system=system, metadata={"user_id": "u"}) as talk:
        assert talk.offload.works == elsewhere
        asked = talk.upstream.request.body
        assert (asked == talk.body) == (facts is ANTHROPIC)
        assert system.encode() in asked
        talk.upstream_answers()
        if facts is OPENAI_COMPATIBLE:
            talk.upstream_says(chunk(finish="stop") + DONE)
            talk.client_gets("message_start", ("message_delta", "end_turn"), "message_stop")
        else:
            talk.upstream_says(START + OPEN + CLOSE + DELTA + STOP)
            talk.client_gets_bytes(START + OPEN + CLOSE + DELTA + STOP)
        talk.upstream_ends()


def test_leaving_while_the_request_is_made_elsewhere() -> None:
    with Dialogue(OPENAI_COMPATIBLE, system=LARGE, offload=FakeOffload(held=True)) as talk:
        talk.client_leaves()
        assert not talk.calls
        assert talk.ended("client_left").end.error is None
