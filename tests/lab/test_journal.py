"""What the journal says, and that it never holds a credential."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec

from ezai.lab.mock import Ended, credential_digest, mock_upstream
from ezai.lab.mock.journal import Journal, redacted, redacted_target
from ezai.lab.mock.playback import reset
from tests.lab.conftest import Run
from tests.lab.plain import KEY, asked, asking, connected, request


def test_a_record_says_what_was_asked_and_what_was_answered(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=3") as mock:
            client = await asked(mock, model="claude-x", path="/v1/messages?beta=true", headers={"X-Tag": "7"})
            record = await mock.journal.ended()
            body = request(model="claude-x").partition(b"\r\n\r\n")[2]
            assert (record.number, record.id, record.connection) == (1, client.headers["request-id"], 1)
            assert (record.method, record.path, record.model) == ("POST", "/v1/messages?beta=true", "claude-x")
            assert (record.header("x-tag"), record.header("x-none")) == ("7", None)
            assert (record.body, record.body_bytes) == (body, len(body))
            assert record.body_digest == hashlib.sha256(body).hexdigest()[:16]
            assert (record.behaviour, record.status) == ("tokens=3", 200)
            assert (record.events, record.tokens, record.input_tokens) == (9, 3, len(body) // 4)
            assert record.written_bytes == len(client.raw)
            assert record.ended is Ended.WHOLE
            assert record.ended_s is not None
            assert 0 <= record.started_s <= record.ended_s

    run(main())


def test_a_record_says_which_faults_did_not_happen(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            await asked(mock, "tokens=3,cut_after=99,drop=ping")
            assert (await mock.journal.ended()).not_applied == ["cut_after"]
            shown = msgspec.json.decode(mock.journal.as_json())["requests"][0]
            assert (shown["not_applied"], shown["ended"]) == (["cut_after"], "whole")
            spared = [await asked(mock, "status=529,times=1") for _ in range(2)]
            assert [client.status for client in spared] == [529, 200]
            assert [(await mock.journal.ended(place)).not_applied for place in (2, 3)] == [[], ["status"]]
            assert (await asked(mock, "status=500,stall_after=3")).status == 500
            assert (await mock.journal.ended(4)).not_applied == ["stall_after"]

    run(main())


def test_a_fault_is_not_applied_until_its_place_has_come(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=3,stall_after=2,drop=5") as mock, asking(mock):
            record = await mock.journal.accepted()
            await mock.journal.until(lambda: record.is_holding)
            assert record.not_applied == ["drop"]
            mock.release()
            await mock.journal.ended()
            assert record.not_applied == []

    run(main())


def test_a_place_that_is_none_is_refused(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream() as mock:
            for given in (
                {"behaviour": "tokens=1,stall_after=mesage_start"},
                {"model": "mock-stall_after=mesage_start"},
            ):
                refusal = await asked(mock, **given)
                assert refusal.status == 400
                assert "'mesage_start' is no kind of event. Did you mean message_start?" in refusal.body.decode()

    run(main())


def test_connections_are_told_apart(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1") as mock:
            await asked(mock)
            async with asking(mock, keeps=True) as client:
                await client.until(lambda: client.raw.endswith(b"0\r\n\r\n"))
                assert mock.journal.open_connections == 1
            await mock.journal.quiet()
            first, second = mock.journal.connections
            assert (first.number, first.ended, first.requests) == (1, "cut", 1)
            assert (second.number, second.ended, second.saw_eof) == (2, "peer closed", True)
            assert [record.connection for record in mock.journal.requests] == [1, 2]

    run(main())


def test_credentials_are_digests_that_can_be_matched(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1") as mock:
            await asked(mock)
            await asked(mock, wire="openai")
            hidden = {"cookie": f"session={KEY}", "x-goog-api-key": KEY, "x-custom": f"see {KEY}", "x-auth-token": "t"}
            await asked(mock, headers=hidden, path=f"/v1/messages?key={KEY}&beta=true")
            first, second, third = mock.journal.requests
            assert first.header("x-api-key") == credential_digest(KEY)
            assert second.header("authorization") == f"Bearer {credential_digest(KEY)}"
            assert third.header("x-goog-api-key") == credential_digest(KEY)
            assert third.header("x-custom") == f"see {credential_digest(KEY)}"
            assert third.header("x-auth-token") == credential_digest("t")
            assert third.path == f"/v1/messages?key={credential_digest(KEY)}&beta=true"
            told = (await asked(mock, path="/mock/journal", method="GET")).content
            assert KEY.encode() not in told
            assert KEY not in repr(list(mock.journal.requests))

    run(main())


def test_what_is_no_credential_is_kept() -> None:
    headers = [(b"x-request-id", b"1"), (b"monkey", b"2"), (b"anthropic-version", b"2023-06-01")]
    assert redacted(headers) == [("x-request-id", "1"), ("monkey", "2"), ("anthropic-version", "2023-06-01")]
    assert redacted_target("/v1/models?limit=3&after_id=b") == "/v1/models?limit=3&after_id=b"


def test_it_says_that_a_peer_does_not_read(run_on_both: Run) -> None:  # back-pressure
    async def main() -> None:
        async with mock_upstream("tokens=20000,token_bytes=1KiB") as mock, asking(mock) as client:
            client.transport.pause_reading()
            record = await mock.journal.accepted()
            await mock.journal.until(lambda: record.blocked > 0)
            waited_at = record.tokens
            assert waited_at < 20_000
            client.transport.resume_reading()
            await client.until_ended()
            assert (record.ended, record.tokens) == ("whole", 20_000)

    run_on_both(main())


def test_it_says_at_which_event_a_peer_left(run_on_both: Run) -> None:
    async def main() -> None:
        async with mock_upstream(*(f"tokens=3,stall_after={events}" for events in range(4))) as mock:
            for events in range(4):
                async with asking(mock) as client:
                    await client.until(lambda: b"\r\n\r\n" in client.raw)
                    await client.until(lambda: len(client.names()) == events)  # noqa: B023
                record = await mock.journal.ended(events + 1)
                assert (record.ended, record.events) == ("peer closed", events)

    run_on_both(main())


def test_it_says_that_a_peer_reset(run_on_both: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=3,stall_after=5") as mock:
            client = await connected(mock)
            client.send(request())
            await client.until(lambda: len(client.names()) == 5)
            reset(client.transport)
            record = await mock.journal.ended()
            assert (record.ended, record.events) == ("peer reset", 5)
            await mock.journal.quiet()
            await client.until_ended()

    run_on_both(main())


def test_it_is_told_over_http_and_forgotten_when_asked(run: Run) -> None:
    async def main() -> None:
        async with mock_upstream("tokens=1", "stall_after=1") as mock:
            await asked(mock)
            async with asking(mock):
                await mock.journal.accepted(2)
                told = (await asked(mock, path="/mock/journal", method="GET")).json()
                assert [record["ended"] for record in told["requests"]] == ["whole", "open"]
                assert "body" not in told["requests"][0]
                assert len(told["connections"]) == 3
                assert (await asked(mock, path="/mock/journal", method="DELETE")).status == 200
                assert [record.number for record in mock.journal.requests] == [2]
                released = await asked(mock, path="/mock/release")
                assert released.json() == {"released": 1}
            assert (await asked(mock, path="/mock/nothing")).status == 404
            assert len(mock.journal.requests) == 1  # the mock's own routes are not in it

    run(main())


def test_it_is_appended_to_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"

    async def main() -> None:
        for faults in ("", "cut_after=2"):
            async with mock_upstream(f"tokens=1,{faults}", journal_file=file) as mock:
                await asked(mock)

    run(main())
    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    requests = [line for line in lines if line["kind"] == "request"]
    assert [line["ended"] for line in requests] == ["whole", "cut"]
    assert {line["kind"] for line in lines} == {"request", "connection"}
    assert KEY.encode() not in file.read_bytes()


def test_many_may_wait_on_it_and_one_may_give_up(run: Run) -> None:
    async def main() -> None:
        journal = Journal()
        seen: list[int] = []

        async def waiting(number: int) -> None:
            await journal.until(lambda: journal.open_connections >= 0 and number in {1, 2} and bool(ready))
            seen.append(number)

        ready: list[int] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(waiting(1))
            group.create_task(waiting(2))
            third = group.create_task(waiting(3))
            await asyncio.sleep(0)
            third.cancel()
            await asyncio.sleep(0)
            ready.append(1)
            journal.changed()
        assert sorted(seen) == [1, 2]

    run(main())


def test_a_mock_that_stops_says_so_and_leaves_nothing_open(run_on_both: Run) -> None:
    async def main() -> None:
        async with mock_upstream("stall_after=1") as mock:
            client = await connected(mock)
            client.send(request())
            record = await mock.journal.accepted()
            journal = mock.journal
        assert record.ended == "stopped"
        assert (journal.open_connections, journal.open_requests) == (0, 0)
        await client.until_ended()

    run_on_both(main())
