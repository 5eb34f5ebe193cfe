"""What an attempt's error means: for the request, and for the target that was asked.

| Error | The same target again | Another target | Counts against the target |
|---|---|---|---|
| no connection, TLS; the embedded model is being started | yes | yes | yes |
| a certificate that is not accepted; a proxy that refuses | no: it would again | yes | yes |
| a connection that took too long | no | yes | yes |
| silence: headers, first event, total | no: it may be working on it, and bill it | yes | yes |
| its stream or connection broke, or was not readable | no: the same | yes | yes |
| 429 | yes | yes | cools it down |
| 503, 529 | yes | yes | yes |
| any other 5xx; 408 | no | yes | yes |
| 401, 402, 403: the gateway's own credential or account | no | yes | yes |
| any other 4xx: the client's fault | no | no | no |
| the prompt does not fit | no | one with a larger context | no |
| a refusal for content | no | no | no |
| an error inside the stream, as its first event | no | as its type's status | as its type's status |
| whatever the gateway itself refuses | no | no | no |

`x-should-retry` of the upstream stands above the second column, where there is a third to fall back on: it never makes
a client's fault worth another try. After the first event of a stream only the last column holds, without `total`,
which an answer that runs has just used up. A unary answer is told when it is whole, so all of it is before that.
Source: design, contract 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from ezai.errors import (
    ContentRefused,
    ContextOverflow,
    ContextRefused,
    RequestError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ezai.policy.breaker import Conduct
from ezai.policy.retry_advice import LONGEST_ADVICE_S, NO_ADVICE, RetryAdvice

_SAME_AGAIN = frozenset({429, 503, 529})
_NOT_THE_CLIENTS = frozenset({401, 402, 403, 408})


class Elsewhere(StrEnum):
    """Which other targets an error leaves."""

    NOWHERE = "nowhere"
    ANY = "any"
    LARGER = "larger"
    """Those that declare a larger context."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from the error of an attempt of whose answer nothing was told."""

    same: bool
    """The same target may be asked again."""
    elsewhere: Elsewhere
    conduct: Conduct
    after_s: float | None = None
    """The earliest that the upstream wants to be asked again, tamed; None: it did not say."""
    larger_than: int | None = None
    """Where the prompt did not fit: how many tokens are known not to do. None: nobody said."""


_AGAIN_OR_NEXT = Verdict(same=True, elsewhere=Elsewhere.ANY, conduct=Conduct.FAILED)
_NEXT = Verdict(same=False, elsewhere=Elsewhere.ANY, conduct=Conduct.FAILED)
_NOTHING = Verdict(same=False, elsewhere=Elsewhere.NOWHERE, conduct=Conduct.UNTOLD)


def judge(error: RequestError, advice: RetryAdvice = NO_ADVICE) -> Verdict:
    """What follows from the error of an attempt of whose answer nothing was told.

    `advice` is that of the answer's headers, where there was an answer.
    """
    verdict = _judged(error)
    if isinstance(error, UpstreamRefused) and verdict.elsewhere is Elsewhere.ANY:
        should_retry = error.should_retry if advice.should_retry is None else advice.should_retry
        if should_retry is not None:
            verdict = replace(verdict, same=should_retry)
    after_s = error.retry_after_s if advice.after_s is None else advice.after_s
    if after_s is None:
        return verdict
    return replace(verdict, after_s=min(max(after_s, 0.0), LONGEST_ADVICE_S))


def conduct_of(error: RequestError | None) -> Conduct:
    """How the target behaved in an attempt that had begun to answer, and then ended in this error.

    None where no error ended it, but the client, by leaving or by reading nothing.
    """
    if error is None or (isinstance(error, UpstreamTimeout) and error.phase == "total"):
        return Conduct.UNTOLD
    return _judged(error).conduct


def _judged(error: RequestError) -> Verdict:
    match error:
        case ContextOverflow():
            return _larger(max(error.context_tokens, error.prompt_tokens))
        case ContextRefused():
            return _larger(error.context_tokens)
        case ContentRefused():
            return _NOTHING
        case UpstreamUnreachable():
            return _NEXT if error.should_retry is False else _AGAIN_OR_NEXT
        case UpstreamRefused():
            return _refused(error)
        case UpstreamError():
            return _NEXT
    return _NOTHING


def _larger(than: int | None) -> Verdict:
    return replace(_NOTHING, elsewhere=Elsewhere.LARGER, larger_than=than)


def _refused(error: UpstreamRefused) -> Verdict:
    """By the status; inside a stream there is none, and the same target is not asked again."""
    status = error.refused_status if error.upstream_status is None else error.upstream_status
    if 400 <= status < 500 and status != 429 and status not in _NOT_THE_CLIENTS:
        return _NOTHING
    conduct = Conduct.RATE_LIMITED if status == 429 else Conduct.FAILED
    return Verdict(error.upstream_status in _SAME_AGAIN, Elsewhere.ANY, conduct)
