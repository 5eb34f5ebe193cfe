"""The walk of one request, from admission to settlement.

    async with open_stream(request, ports, waiter) as stream:
        stream.head                       status and headers, ready now
        async for batch in stream.frames  bytes of whole events, or of the one body
        stream.end                        the typed end, set before the last batch is handed out

It is a context manager and no bare generator, because a generator's `finally` has not run when a cancelled task ends.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType

from ezai.errors import InternalError, RequestError
from ezai.pipeline import ending, silence
from ezai.pipeline.attempts import Attempt
from ezai.pipeline.client import Client, Head
from ezai.pipeline.dispatch import Dispatch
from ezai.pipeline.early import EarlyAnswer
from ezai.pipeline.relay import Push, Relay, wire
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.unary import ask_whole
from ezai.pipeline.waiting import DeadlinePassed, Interrupted, Waiter
from ezai.ports import Outcome, Ports
from ezai.protocol.anthropic.answers import error_body, error_frame
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.end import Cause, End

logger = logging.getLogger("ezai.pipeline")

EVENT_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
JSON = ((b"content-type", b"application/json"),)
_ADVICE = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})
"""What an upstream says in them is read, and told with the error; as it stands it may be anything."""
CLIENT_CLOSED_REQUEST = 499  # nginx's number for it; never sent


def open_stream(request: GatewayRequest, ports: Ports, waiter: Waiter, client: Client | None = None) -> Stream:
    """Walk the request until its head is known, and hand out the stream; settle and let go at the exit.

    The head is known at the upstream's first event, or at a refusal. But where a stream has not begun after
    `commit_after_s` the `client`, if given, is sent a head and pings (`EarlyAnswer`); what comes then, a refusal too,
    is told in `frames`. Nothing that the client, the upstream or the gateway does wrong is raised from here: it is
    the answer. Interrupting `waiter` ends the stream at the next moment it waits.

    Promises: every attempt's record is settled exactly once, before the last bytes are handed out; the frames are a
    legal stream or one that ends in one error event; the upstream has been stopped, or has finished, at the exit.
    """
    return Stream(request, ports, waiter, client)


class Stream:
    """The answer to one request, while its context is open. Made by `open_stream` alone.

    `head` is None, and there are no frames, when the client left before there was one. With `push` set, whole events
    in the middle of the stream go to that while the next of `frames` is awaited, in the call that received them; once
    it has no more room the next frame is an empty one, after which there must be room again.
    """

    head: Head | None
    frames: AsyncGenerator[bytes, None]
    push: Push | None
    end: End | None

    def __init__(self, request: GatewayRequest, ports: Ports, waiter: Waiter, client: Client | None = None) -> None:
        self.head = None
        self.push = None
        self.end = None
        self._began = ports.clock.now()
        self._request = request
        self._ports = ports
        self._waiter = waiter
        self._dispatch = Dispatch(request, ports)
        self._client = client
        self._early: EarlyAnswer | None = None
        self._kept_alive_at = self._began

    async def __aenter__(self) -> Stream:
        try:
            try:
                await (self._begin_stream() if self._request.message.streamed else self._begin_unary())
            except Exception as error:  # noqa: BLE001  # told to the client, and logged where it is ours
                await self._refuse(error)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    # Until the head is known.

    async def _begin_stream(self) -> None:
        if self._client is not None:
            self._waiter.call_at(self._ports.clock.now() + self._ports.commit_after_s, self._begin_early)
        try:
            batch = await self._dispatch.until_answered(self._waiter, Attempt.open_stream)
        finally:
            self._waiter.call_off()
        await self._end_early()
        self.head = self.head or self._stream_head()
        self.frames = self._event_frames(batch)

    def _begin_early(self) -> None:
        """The opening is slow: what it brings now is told inside the stream."""
        assert self._client is not None
        self.head = self._stream_head(alone=True)
        self._early = EarlyAnswer(self._client, self.head, self._ports)

    async def _end_early(self) -> None:
        early, self._early = self._early, None
        if early is not None:
            await early.end()

    def _stream_head(self, *, alone: bool = False) -> Head:
        return Head(200, (*EVENT_STREAM, *self._described()), in_pieces=True, alone=alone)

    async def _begin_unary(self) -> None:
        answer = await self._dispatch.until_answered(self._waiter, ask_whole)
        await self._settle(answer.end)
        self.head = Head(200, (*JSON, _length(answer.body), *self._described()))
        self.frames = _once(answer.body)

    # The frames.

    async def _event_frames(self, batch: Sequence[MessagesEvent]) -> AsyncGenerator[bytes, None]:
        attempt, relay = self._dispatch.attempt, self._relay
        assert attempt is not None, "it answers"
        assert relay is not None, "it answers"
        try:
            while not relay.over:
                yield wire(batch)
                # Only now: while the client was slow to take it, nobody listened to the upstream.
                relay.listen_again(batch)
                while (heard := await self._listen(attempt, relay)) is None:
                    yield silence.keep_alive_frame(relay.state)
                    self._kept_alive_at = self._ports.clock.now()
                batch = heard
            await self._settle(ending.whole(relay))
            yield wire(batch)
        except Exception as caught:  # noqa: BLE001  # told to the client, and logged where it is ours
            error = await self._break(caught)
        else:
            return
        if error is not None:
            yield error_frame(error, self._request.id)

    async def _listen(self, attempt: Attempt, relay: Relay) -> Sequence[MessagesEvent] | None:
        """The next events that are not pushed; None when it is time for a keep-alive."""
        while True:
            until = min(attempt.next_deadline(), self._keep_alive_at(relay))
            try:
                return await self._waiter.wait(relay.read(self.push), until=until)
            except DeadlinePassed:
                attempt.check_phases()
                if self._ports.clock.now() >= self._keep_alive_at(relay):
                    return None

    def _keep_alive_at(self, relay: Relay) -> float:
        return max(relay.handed_on_at, self._kept_alive_at) + self._ports.keep_alive_s

    # Ending.

    async def _refuse(self, caught: Exception) -> None:
        """Answer with an error where nothing of the upstream was told."""
        error = await self._break(caught)
        described = [field for field in self._described() if field[0] not in _ADVICE]
        await self._dispatch.aclose()
        await self._end_early()  # last: it may wait for a slow reader
        if error is None:  # the client has left: there is nobody to answer
            self.frames = _once(b"")
            return
        if self.head is not None:
            self.frames = _once(error_frame(error, self._request.id))
            return
        body = error_body(error, self._request.id)
        self.head = Head(error.http_status, (*JSON, _length(body), *error.headers(), *described))
        self.frames = _once(body)

    async def _break(self, caught: Exception) -> RequestError | None:
        """Settle what was broken. Returns the error that the client is told, None when it has left."""
        cause = self._cause_of(caught)
        await self._settle(ending.broken(cause, self._relay))
        return cause if isinstance(cause, RequestError) else None

    def _cause_of(self, caught: Exception) -> RequestError | Cause:
        if isinstance(caught, Interrupted):
            return caught.cause
        if isinstance(caught, RequestError):
            return caught
        logger.error("request %s: a defect of the gateway", self._request.id, exc_info=caught)
        return InternalError("The gateway failed on this request; its log has the details under the request id.")

    async def _settle(self, end: End) -> None:
        if self.end is None:
            self.end = end
        await self._dispatch.settle(self.end)

    async def _leave(self) -> None:
        """Stop what still runs, settle what nobody settled (the task was cancelled from outside), tell who watches."""
        try:
            if self._early is not None:
                await self._early.aclose()
            if self.end is None:
                await self._settle(ending.broken(self._waiter.interruption or Cause.CLIENT_LEFT, self._relay))
        finally:
            await self._dispatch.aclose()
            self._tell()

    @property
    def _relay(self) -> Relay | None:
        return self._dispatch.attempt.relay if self._dispatch.attempt else None

    def _tell(self) -> None:
        assert self.end is not None, "settled before"
        request, route, attempt = self._request, self._dispatch.route, self._dispatch.attempt
        outcome = Outcome(
            request_id=request.id,
            status=self.head.status if self.head else CLIENT_CLOSED_REQUEST,
            cause=str(self.end.cause),
            duration_s=self._ports.clock.now() - self._began,
            key_id=request.key.public_id if request.key else None,
            model=request.message.model,
            streamed=request.message.streamed,
            route=route.model if route else None,
            upstream=attempt.upstream.name if attempt else None,
            upstream_model=attempt.upstream_model if attempt else None,
            upstream_request_id=attempt.upstream_request_id if attempt else None,
            attempts=self._dispatch.attempts,
            first_token_after_s=self._first_token_after_s(self._began),
            upstream_first_token_after_s=self._first_token_after_s(attempt.started) if attempt else None,
            end=self.end,
            tries=tuple(self._dispatch.tries),
        )
        for observer in self._ports.observers:
            observer.ended(outcome)

    def _first_token_after_s(self, began: float) -> float | None:
        """Of a stream: a client that asked for the whole sees no token before the last."""
        if not self._request.message.streamed or self._relay is None or self._relay.first_token_at is None:
            return None
        return self._relay.first_token_at - began

    def _described(self) -> list[tuple[bytes, bytes]]:
        """Who answers, as extra headers."""
        attempt = self._dispatch.attempt
        if attempt is None:
            return []
        return [(b"x-ezai-attempts", b"%d" % self._dispatch.attempts), *attempt.described()]


def _length(body: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", str(len(body)).encode())


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
