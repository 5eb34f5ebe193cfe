"""The end of the gateway itself: who is being answered is told, and the model's process goes with it."""

from __future__ import annotations

import signal

import pytest

from tests.gateway_process import GatewayProcess
from tests.sdk.prompts import endless, pass_through
from tests.sdk.wire import RawClient
from tests.supervise.processes import watched


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_streams_in_one_error_event_and_leaves_nothing(
    number: signal.Signals, own_gateway: GatewayProcess
) -> None:
    url = own_gateway.url
    with (
        watched(own_gateway.embedded_child_pid()) as child,
        RawClient(url, "/v1/messages", endless("claude-streamed", 4000, stream=True)) as streamed,
        RawClient(url, "/v1/messages", endless("claude-unary", 4000, stream=False)) as unary,
    ):
        streamed.read_texts(1)
        pass_through(url)
        own_gateway.send_signal(number)
        own_gateway.wait_for_log("stopping", open_requests=2)
        own_gateway.stop(number)
        assert child.ended
        stream, refusal = streamed.read_to_end(), unary.read_to_end()

    assert stream.whole
    kinds = [event.kind for event in stream.events()]
    assert kinds.index("error") == len(kinds) - 1
    assert stream.events()[-1].payload["error"]["details"]["error_code"] == "draining"

    assert refusal.status == 529
    assert refusal.json()["error"]["details"]["error_code"] == "draining"


def test_a_signal_lets_the_model_finish_its_answers(own_gateway: GatewayProcess) -> None:
    with RawClient(own_gateway.url, "/v1/messages", endless("claude-streamed", 100, stream=True)) as streamed:
        streamed.read_texts(1)
        own_gateway.stop()
        stream = streamed.read_to_end()
    assert stream.whole
    assert stream.events()[-1].kind == "message_stop"


def test_the_model_s_process_dies_with_a_killed_gateway(own_gateway: GatewayProcess) -> None:
    with (
        watched(own_gateway.embedded_child_pid()) as child,
        RawClient(own_gateway.url, "/v1/messages", endless("claude-streamed", 4000, stream=True)) as streamed,
    ):
        streamed.read_texts(1)
        own_gateway.kill()
        child.wait()
