"""The targets of a route asked in turn, until one begins to answer.

Who is asked, how often and after which wait is decided by `ezai.policy.walk`, from what each error means
(`ezai.policy.verdicts`). Here it is carried out: each attempt is recorded with its own cause, let go of as soon as it
has failed, and told to the state of its target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import ceil
from typing import TypeVar

from ezai.errors import RequestError
from ezai.pipeline import ending
from ezai.pipeline.attempts import Attempt, Deadline
from ezai.pipeline.request import GatewayRequest
from ezai.pipeline.waiting import NEVER, DeadlinePassed, Waiter
from ezai.policy.breaker import COOL_DOWN_S, Conduct, cool_down_s
from ezai.policy.keys import check_model
from ezai.policy.retry_advice import RetryAdvice, read_advice
from ezai.policy.routing import Route, Target, find_route
from ezai.policy.verdicts import conduct_of, judge
from ezai.policy.walk import Step, Walk
from ezai.ports import Admission, Ports
from ezai.protocol.end import Cause, End
from ezai.protocol.usage import Usage

T = TypeVar("T")


class Dispatch:
    """The admission and the attempts of one request. Whoever makes it must `settle` it, and then `aclose` it.

    `route` is None until it is found. `attempt` is the present one, which after `until_answered` is the one that
    answers; `attempts` are how many there were, `tries` the upstream and the cause of each that is over. With
    `on_record` False the request is no use of a model: nothing of it is recorded, nor told to the state of any target,
    and there is nothing to settle.
    """

    def __init__(self, request: GatewayRequest, ports: Ports, *, on_record: bool = True) -> None:
        self.route: Route | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.tries: list[tuple[str, str]] = []
        self._request = request
        self._ports = ports
        self._on_record = on_record
        self._began = ports.clock.now()
        self._ticket: tuple[Target, int] | None = None
        self._failed: End | None = None
        self._settled = False
        self._admission: Admission | None = None
        self._used = Usage()

    async def until_answered(self, waiter: Waiter, ask: Callable[[Attempt, Waiter], Awaitable[T]]) -> T:
        """What `ask` returned of the first attempt in which it raised no `RequestError`.

        Raises the error of the last attempt that there may be, with the upstream's advice on when to retry;
        `NotFound`, `PermissionDenied`, `RateLimited` and `NoTargetReady` before there is any attempt, and so any record
        or cost; `Interrupted` when `waiter` is.
        """
        check_model(self._request.key, self._request.message.model)
        self.route = route = find_route(self._ports.routes, self._request.message.model)
        deadline = self._deadline(route)
        await self._admit(waiter)
        walk = self._walk(route, deadline)
        target = walk.first(self._began)
        try:
            while True:
                attempt = Attempt(self._request, route, target, self._ports, deadline)
                await self._begin(attempt, target, waiter)
                try:
                    answer = await ask(attempt, waiter)
                except RequestError as error:
                    step = self._onward(attempt, target, error, walk)
                    if step is None:
                        raise
                else:
                    self._note(Conduct.SPOKE)
                    return answer
                await attempt.aclose()
                await self._pause(step.wait_s, waiter)
                target = step.target
        finally:
            walk.close()

    async def _admit(self, waiter: Waiter) -> None:
        """Have the key's limits let the request in; an open gateway has none."""
        if self._request.key is None:
            return
        admission = Admission(self._request.id, self._request.key, self._request.message.model)
        await waiter.wait(self._ports.limits.admit(admission))
        self._admission = admission

    def _deadline(self, route: Route) -> Deadline:
        """One for the whole request: that of the target which stands first."""
        total_s = self._ports.timeouts_of(route, route.targets[0]).total
        return Deadline(self._began + total_s, total_s)

    def _walk(self, route: Route, deadline: Deadline) -> Walk:
        ports = self._ports
        return Walk(
            route.targets,
            ports.target_state.standing,
            ports.retry_budget,
            deadline=deadline.at,
            commits_at=self._began + ports.commit_after_s if self._request.message.streamed else NEVER,
        )

    async def _begin(self, attempt: Attempt, target: Target, waiter: Waiter) -> None:
        """Record the attempt, and only then the end of the one before it.

        So there is one at every moment whose settlement ends the record of the request too: wherever the client
        leaves, and where this attempt cannot be recorded.
        """
        if not self._on_record:
            self.attempt = attempt
            self.attempts += 1
            return
        self._ticket = target, self._ports.target_state.asking(target)
        try:
            await attempt.begin(self.attempts + 1, waiter)
        finally:
            if attempt.is_recorded:
                former, failed = self.attempt, self._failed
                self.attempt, self._failed = attempt, None
                self.attempts += 1
                if former is not None and failed is not None:
                    await former.settle(failed, request_cause=None)

    def _onward(self, attempt: Attempt, target: Target, error: RequestError, walk: Walk) -> Step | None:
        """Whom to ask after the attempt failed. None: nobody, and then the error bears the advice for the client."""
        advice = read_advice(attempt.answered_headers, self._ports.clock.epoch())
        verdict = judge(error, advice)
        self._note(verdict.conduct, cool_s=cool_down_s(verdict.after_s))
        self._ticket = None
        step = walk.onward(verdict, self._ports.clock.now(), self._ports.chance())
        if step is None:
            _advise(error, verdict.after_s, advice)
            return None
        self._failed = ending.broken(error, attempt.relay)
        self.tries.append((target.upstream, error.error_code))
        return step

    async def _pause(self, wait_s: float, waiter: Waiter) -> None:
        """Wait, with nothing asked of anybody: the upstream that failed has been let go."""
        if wait_s > 0:
            with suppress(DeadlinePassed):
                never = asyncio.get_running_loop().create_future()
                await waiter.wait(never, until=self._ports.clock.now() + wait_s)

    def _note(self, conduct: Conduct, *, cool_s: float = COOL_DOWN_S) -> None:
        if self._ticket is not None:
            self._ports.target_state.note(*self._ticket, conduct, cool_s=cool_s)

    # Ending.

    async def settle(self, end: End) -> None:
        """Record how the request ended, once: later calls do nothing. Returns when the record is safe."""
        if self._settled:
            return
        self._settled = True
        self._used = end.usage
        self._note(Conduct.FINISHED if end.cause == Cause.FINISHED else conduct_of(end.error))
        self._ticket = None
        if self.attempt is None:
            return
        if self._failed is None:  # else it is among the tries already
            self.tries.append((self.attempt.upstream.name, str(end.cause)))
        await self.attempt.settle(self._failed or end, request_cause=str(end.cause))

    async def aclose(self) -> None:
        """Let go of the upstream, and then of the request's place among those of its key."""
        try:
            if self.attempt is not None:
                await self.attempt.aclose()
        finally:
            admission, self._admission = self._admission, None
            if admission is not None:
                self._ports.limits.release(admission, self._used)


def _advise(error: RequestError, after_s: float | None, advice: RetryAdvice) -> None:
    """Tell the client what the upstream advised, in values that it can do something with."""
    if after_s is not None:
        error.retry_after_s = max(1, ceil(after_s))
    if error.should_retry is None:
        error.should_retry = advice.should_retry
