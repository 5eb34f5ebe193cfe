"""What an answer cost is settled with it."""

from __future__ import annotations

import pytest

from ezai.errors import Overloaded
from ezai.policy.pricing import Price
from ezai.ports import AttemptIntent
from tests.pipeline.fakes import DONE, EVENT_STREAM, Dialogue, FakeLedger, chunk, usage_chunk

PRICE = Price(3_000_000, 15_000_000, 300_000, 3_750_000, 6_000_000)


@pytest.mark.parametrize("price", [PRICE, None])
def test_the_settlement_has_the_price_and_the_cost(price: Price | None) -> None:
    with Dialogue(price=price) as told:
        told.upstream_answers(headers=(*EVENT_STREAM, (b"x-request-id", b"theirs")))
        told.upstream_says(chunk("Hi"), chunk(finish="stop"), usage_chunk(100, 10, cached=40), DONE)
        told.upstream_ends()
        told._unread()
        settled = told.ended("finished")
        assert settled.price == price
        assert settled.cost_nanousd == (None if price is None else 60 * 3000 + 40 * 300 + 10 * 15_000)
        assert settled.upstream_request_id == "theirs"
        assert (settled.intent.route, settled.intent.dialect, settled.intent.account) == ("*", "anthropic", "acme")


def test_a_record_that_cannot_be_kept_refuses_the_request_and_settles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: FakeLedger, intent: AttemptIntent) -> None:
        raise Overloaded("The gateway cannot keep its record of use now.", error_code="record_unavailable")

    monkeypatch.setattr(FakeLedger, "intend", refuse)
    with Dialogue() as told:
        error = told.client_gets_json(529)["error"]
        assert error["details"]["error_code"] == "record_unavailable"
        assert not told.calls, "nothing was asked"
        assert told.ledger.settlements == []
