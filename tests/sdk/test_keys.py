"""A gateway that wants a key takes it as each generation of the SDKs sends it. Conformance items 1-3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import CLIENT_KEY as KEY
from tests.gateway_process import GatewayProcess, running_gateway
from tests.sdk.clients import CLIENTS, PYTHON_NEW, TYPESCRIPT_NEW, Client
from tests.sdk.recorder import Recorder


@pytest.fixture(scope="module")
def keyed_gateway(embedded_model: Path) -> Iterator[GatewayProcess]:
    with running_gateway(EZAI_ADMIN_KEY=KEY) as running:
        yield running


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_1_2_3_the_right_key_is_answered_and_a_wrong_one_is_not(client: Client, keyed_gateway: GatewayProcess) -> None:
    with Recorder(keyed_gateway.url) as recorder:
        outcome = client.run("keyed", recorder.url, ANTHROPIC_API_KEY=KEY)
    assert outcome["right"]["type"] == "message"
    assert (outcome["wrong"]["status"], outcome["wrong"]["class"]) == (401, "AuthenticationError")
    assert outcome["wrong"]["body"]["error"]["type"] == "authentication_error"

    sent = recorder.sent().lower()
    as_bearer = b"\r\nauthorization: bearer %b\r\n" % KEY.encode() in sent
    as_x_api_key = b"\r\nx-api-key: %b\r\n" % KEY.encode() in sent
    is_new = client in {PYTHON_NEW, TYPESCRIPT_NEW}
    assert (as_bearer, as_x_api_key) == (is_new, not is_new)
