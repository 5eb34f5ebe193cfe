"""The chat page on what `make run` starts: a gateway without a configuration, and its real model."""

from __future__ import annotations

import pytest

from tests.gateway_process import running_gateway
from tests.model_fixture import ensure_model
from tests.web.browser import NOTHING, Browser


@pytest.mark.model
def test_the_embedded_model_answers_on_the_page(browser: Browser) -> None:
    ensure_model()
    with running_gateway() as gateway:
        done = browser.exchange({"scenario": "answers.short", "url": gateway.url, "options": {"maxTokens": 30}})
    assert "failed" not in done, done["failed"]
    assert done["seen"] == NOTHING
    told = done["told"]
    assert len(told["text"]) > 20
    model, tokens, rate, first, cost = told["status"]
    assert (model, cost) == ("smollm2-135m", "$0")
    assert int(tokens.split()[0]) <= 30
    assert rate.endswith("tokens/s")
    assert first.startswith("first token")
    assert told["ending"] is None or told["ending"]["words"].startswith("The limit was reached")
