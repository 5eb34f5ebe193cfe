"""A key that may ask for some models alone: what it is shown, and what it is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ezai.policy.keys import Credentials, VirtualKey
from tests.canary import CLIENT_KEY
from tests.conformance.gateway import Options, Running, gateway, run
from tests.pipeline.fakes import FakeKeys

ANTHROPIC = {"anthropic-version": "2023-06-01"}


class LimitedKeys(FakeKeys):
    """The clients' key, which may ask for some models alone."""

    def __init__(self, *models: str) -> None:
        super().__init__(**{CLIENT_KEY: "limited"})
        self._models = models

    async def find(self, credentials: Credentials) -> Sequence[VirtualKey]:
        return [VirtualKey(key.public_id, models=self._models) for key in await super().find(credentials)]


async def listed(running: Running, query: str = "", headers: dict[str, str] | None = None) -> list[str]:
    response = await running.http.get(f"/v1/models{query}", headers=headers)
    return [model["id"] for model in response.json()["data"]]


@pytest.mark.parametrize(
    ("globs", "ids"),
    [
        ((), ["small", "org/model", "claude-alias", "smollm2-135m"]),
        (("sm*",), ["small", "smollm2-135m"]),
        (("org/model", "claude-*"), ["org/model", "claude-alias"]),
        (("gpt-*",), []),
    ],
)
def test_the_list_has_what_the_key_may_ask_for(globs: tuple[str, ...], ids: list[str]) -> None:
    async def test() -> None:
        async with gateway(options=Options(keys=LimitedKeys(*globs))) as running:
            assert await listed(running) == ids
            assert await listed(running, headers=ANTHROPIC) == ids

    run(test())


def test_pages_are_of_that_list() -> None:
    async def test() -> None:
        async with gateway(options=Options(keys=LimitedKeys("sm*"))) as running:
            assert await listed(running, "?limit=1", ANTHROPIC) == ["small"]
            assert await listed(running, "?after_id=small", ANTHROPIC) == ["smollm2-135m"]
            response = await running.http.get("/v1/models?after_id=claude-alias", headers=ANTHROPIC)
            assert response.status_code == 400

    run(test())


def test_a_model_that_it_may_not_ask_for_is_unknown() -> None:
    async def test() -> None:
        async with gateway(options=Options(keys=LimitedKeys("sm*"))) as running:
            assert (await running.http.get("/v1/models/small")).json()["id"] == "small"
            hidden, unknown = [await running.http.get(f"/v1/models/{name}") for name in ("org/model", "org/nothing")]
            assert (hidden.status_code, unknown.status_code) == (404, 404)
            error, other = hidden.json()["error"], unknown.json()["error"]
            assert error == {**other, "message": "model: org/model"}

    run(test())
