"""The calls that users write, on every SDK that they write them with: `base_url` alone is changed.

Each SDK runs once against the gateway, through a relay that records the bytes. Conformance items 40, 64 and 65.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ezai.protocol.anthropic.fold import fold
from tests.gateway_process import GatewayProcess
from tests.sdk.clients import CLIENTS, PYTHON, TYPESCRIPT, Client
from tests.sdk.recorder import Recorder
from tests.sdk.wire import Answer


@dataclass(frozen=True)
class Session:
    """What one SDK gave its user, and the answers on the wire that it got it from."""

    given: dict[str, Any]
    answers: Sequence[Answer]

    def answer_with_message(self, message_id: str) -> Answer:
        """The answer that held the message of this id."""
        (answer,) = (answer for answer in self.answers if message_id.encode() in answer.body)
        return answer

    def answer_with_request(self, request_id: str) -> Answer:
        (answer,) = (answer for answer in self.answers if answer.headers["request-id"] == request_id)
        return answer


@pytest.fixture(scope="session")
def session_of(gateway: GatewayProcess) -> Callable[[Client], Session]:
    """One run of each SDK's snippets, at the first test that asks for it."""
    sessions: dict[str, Session] = {}

    def run(client: Client) -> Session:
        if client.name not in sessions:
            with Recorder(gateway.url) as recorder:
                given = client.run("snippets", recorder.url)
            sessions[client.name] = Session(given, recorder.answers())
        return sessions[client.name]

    return run


of_every_sdk = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
of_typescript = pytest.mark.parametrize("client", TYPESCRIPT, ids=lambda client: client.name)

STREAMS = {
    **{client.name: ("stream",) for client in CLIENTS},
    **{client.name: ("stream", "async_stream") for client in PYTHON},
}
EVENTS = {
    **{client.name: ("events",) for client in CLIENTS},
    **{client.name: ("events", "async_events") for client in PYTHON},
}
UNARY = {
    **{client.name: ("unary",) for client in CLIENTS},
    **{client.name: ("unary", "async_unary") for client in PYTHON},
}


def without_nulls(value: Any) -> Any:
    """The SDKs add keys that were not sent, as null (`citations`, `parsed_output`): a null is as good as no key."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


Sessions = Callable[[Client], Session]


@of_every_sdk
def test_it_is_the_sdk_that_it_is_taken_for(client: Client, session_of: Sessions) -> None:
    assert session_of(client).given["version"].startswith(client.major)


@of_every_sdk
def test_item_64_item_65_the_accumulated_message_is_the_fold_of_the_raw_events(
    client: Client, session_of: Sessions
) -> None:
    session = session_of(client)
    for call in STREAMS[client.name]:
        final = session.given[call]["final"]
        answer = session.answer_with_message(final["id"])
        assert answer.is_stream
        assert answer.whole
        assert without_nulls(final) == without_nulls(fold(answer.events()))


@of_every_sdk
def test_item_64_item_65_the_text_comes_in_pieces_that_join_to_the_message(
    client: Client, session_of: Sessions
) -> None:
    session = session_of(client)
    for call in STREAMS[client.name]:
        given = session.given[call]
        (block,) = given["final"]["content"]
        assert block["type"] == "text"
        assert "".join(given["texts"]) == block["text"]
        assert len(given["texts"]) > 3


@of_every_sdk
def test_item_64_item_65_a_stream_of_create_gives_every_event_as_it_was_sent(
    client: Client, session_of: Sessions
) -> None:
    session = session_of(client)
    for call in EVENTS[client.name]:
        given = session.given[call]
        sent = session.answer_with_message(given[0]["message"]["id"]).events()
        assert without_nulls(given) == without_nulls([event.payload for event in sent])


@of_every_sdk
def test_item_40_a_unary_answer_is_the_message_that_was_sent(client: Client, session_of: Sessions) -> None:
    session = session_of(client)
    for call in UNARY[client.name]:
        final = session.given[call]["final"]
        answer = session.answer_with_message(final["id"])
        assert not answer.is_stream
        assert without_nulls(final) == without_nulls(answer.json())
        assert final["content"][0]["text"]
        assert final["stop_reason"] in {"end_turn", "max_tokens"}


@of_every_sdk
def test_item_40_request_ids_are_the_header_s(client: Client, session_of: Sessions) -> None:
    session = session_of(client)
    for call in STREAMS[client.name] + UNARY[client.name]:
        given = session.given[call]
        assert given["request_id"] == session.answer_with_message(given["final"]["id"]).headers["request-id"]


@of_every_sdk
def test_usage_is_what_was_counted_before(client: Client, session_of: Sessions) -> None:
    given = session_of(client).given
    for call in STREAMS[client.name] + UNARY[client.name]:
        usage = given[call]["final"]["usage"]
        prompt_tokens = usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
        assert prompt_tokens == given["count"]
        assert 0 < usage["output_tokens"] <= 16


@of_every_sdk
def test_models_are_listed_and_found(client: Client, session_of: Sessions) -> None:
    given = session_of(client).given
    assert given["models"] == ["smollm2-135m"]
    assert given["model"]["id"] == "smollm2-135m"
    assert given["model"]["type"] == "model"


@of_every_sdk
@pytest.mark.parametrize(
    ("call", "status", "name", "wire_type", "names"),
    [
        ("unknown_path", 404, "NotFoundError", "not_found_error", "/v1/nowhere"),
        ("unknown_model", 404, "NotFoundError", "not_found_error", "no-such-model"),
        ("bad_request", 400, "BadRequestError", "invalid_request_error", "max_tokens"),
    ],
)
def test_a_refusal_is_raised_as_the_sdk_s_own_class(
    client: Client, call: str, status: int, name: str, wire_type: str, names: str, session_of: Sessions
) -> None:
    session = session_of(client)
    error = session.given["errors"][call]
    assert (error["status"], error["class"]) == (status, name)
    assert error["body"]["error"]["type"] == wire_type
    assert names in error["body"]["error"]["message"]
    answer = session.answer_with_request(error["request_id"])
    assert answer.status == status
    assert error["body"] == answer.json()
    assert error["body"]["request_id"] == error["request_id"]


@of_typescript
def test_item_64_item_65_the_listeners_are_told_each_part_once(client: Client, session_of: Sessions) -> None:
    given = session_of(client).given["stream"]
    assert given["blocks"] == given["final"]["content"]
    assert given["messages"] == [given["final"]]
    assert given["errors"] == []


@of_typescript
def test_the_error_listener_is_told_what_the_caller_is(client: Client, session_of: Sessions) -> None:
    error = session_of(client).given["errors"]["bad_stream_request"]
    (heard,) = error.pop("heard")
    assert heard == error
    assert error["class"] == "BadRequestError"
