"""What each error of an attempt means."""

from __future__ import annotations

import inspect
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezai import errors
from ezai.errors import (
    ContentRefused,
    ContextOverflow,
    ContextRefused,
    IllegalStream,
    InternalError,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestError,
    Stopped,
    UpstreamError,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamStalled,
    UpstreamStarting,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from ezai.policy import verdicts
from ezai.policy.breaker import Conduct
from ezai.policy.retry_advice import RetryAdvice
from ezai.policy.verdicts import Elsewhere, Verdict, conduct_of, judge

SAME_OR_NEXT = Verdict(same=True, elsewhere=Elsewhere.ANY, conduct=Conduct.FAILED)
NEXT = Verdict(same=False, elsewhere=Elsewhere.ANY, conduct=Conduct.FAILED)
NOTHING = Verdict(same=False, elsewhere=Elsewhere.NOWHERE, conduct=Conduct.UNTOLD)
COOLS = Verdict(same=True, elsewhere=Elsewhere.ANY, conduct=Conduct.RATE_LIMITED)
COOLS_NEXT = Verdict(same=False, elsewhere=Elsewhere.ANY, conduct=Conduct.RATE_LIMITED)


def refused(
    status: int, kind: type[UpstreamRefused] = UpstreamRefused, *, told: int | None = None, in_stream: bool = False
) -> UpstreamRefused:
    """An upstream's own error; inside a stream it has a status by its type alone."""
    upstream_status = None if in_stream else status
    return kind("no", status=told or status, wire_type="api_error", upstream_status=upstream_status)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (UpstreamUnreachable("refused, unreachable, or TLS"), SAME_OR_NEXT),
        (UpstreamUnreachable("its certificate, or a proxy that refuses", should_retry=False), NEXT),
        (UpstreamStarting("The embedded model is being started."), SAME_OR_NEXT),
        (UpstreamTimeout("connect", 5), NEXT),
        (UpstreamTimeout("response_headers", 300), NEXT),
        (UpstreamTimeout("first_event", 300), NEXT),
        (UpstreamTimeout("idle", 120), NEXT),
        (UpstreamTimeout("total", 3600), NEXT),
        (UpstreamStalled("idle", 120), NEXT),
        (UpstreamTruncated("before the first event"), NEXT),
        (UpstreamMalformed("no SSE"), NEXT),
        (IllegalStream("a delta first"), NEXT),
        (UpstreamError("whatever else"), NEXT),
        (InvalidRequest("messages: none"), NOTHING),
        (NotFound("model: x"), NOTHING),
        (ContentRefused("no", status=400, wire_type="x", upstream_status=403), NOTHING),
        (Overloaded("The record cannot be kept.", error_code="record_unavailable"), NOTHING),
        (InternalError("a defect"), NOTHING),
        (Stopped("by its owner"), NOTHING),
    ],
    ids=lambda value: type(value).__name__ + getattr(value, "phase", ""),
)
def test_what_an_error_means(error: RequestError, verdict: Verdict) -> None:
    assert judge(error) == verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (429, COOLS), (503, SAME_OR_NEXT), (529, SAME_OR_NEXT),
        (500, NEXT), (501, NEXT), (502, NEXT), (504, NEXT), (520, NEXT), (599, NEXT), (408, NEXT),
        (401, NEXT), (402, NEXT), (403, NEXT),
        (400, NOTHING), (404, NOTHING), (405, NOTHING), (409, NOTHING), (413, NOTHING), (418, NOTHING), (422, NOTHING),
    ],
)  # fmt: skip
def test_u25_what_a_status_means(status: int, verdict: Verdict) -> None:
    assert judge(refused(status)) == verdict
    assert judge(refused(status, told=502)) == verdict, "by the upstream's status, not by the one that is told"


@pytest.mark.parametrize(
    ("told", "verdict"),
    [(529, NEXT), (502, NEXT), (504, NEXT), (429, COOLS_NEXT), (400, NOTHING), (404, NOTHING), (413, NOTHING)],
)
def test_u23_an_error_inside_the_stream_is_never_asked_of_the_same_again(told: int, verdict: Verdict) -> None:
    assert judge(refused(told, in_stream=True)) == verdict


@pytest.mark.parametrize(
    "error", [ContentRefused("no", status=code, wire_type="x", upstream_status=code) for code in (400, 403, 500, 503)]
)
def test_a_refusal_for_content_is_never_routed_around(error: UpstreamRefused) -> None:
    for said in (None, True, False):
        assert judge(error, RetryAdvice(should_retry=said)) == NOTHING


def test_a_prompt_that_does_not_fit_goes_to_a_larger_one_alone() -> None:
    verdict = judge(ContextOverflow(9000, 8192))
    assert (verdict.same, verdict.elsewhere, verdict.conduct) == (False, Elsewhere.LARGER, Conduct.UNTOLD)
    assert verdict.larger_than == 9000
    in_own_words = refused(400, ContextRefused)
    assert isinstance(in_own_words, ContextRefused)
    assert judge(in_own_words).elsewhere is Elsewhere.LARGER
    assert judge(in_own_words).larger_than is None
    in_own_words.context_tokens = 200_000
    assert judge(in_own_words, RetryAdvice(should_retry=True)) == Verdict(
        same=False, elsewhere=Elsewhere.LARGER, conduct=Conduct.UNTOLD, larger_than=200_000
    )


# Advice.


@pytest.mark.parametrize("status", [429, 500, 503, 529, 401])
def test_x_should_retry_stands_above_the_status(status: int) -> None:
    assert judge(refused(status), RetryAdvice(should_retry=True)).same
    assert not judge(refused(status), RetryAdvice(should_retry=False)).same
    for said in (True, False):
        assert judge(refused(status), RetryAdvice(should_retry=said)).elsewhere is Elsewhere.ANY


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_it_makes_no_clients_fault_worth_another_try(status: int) -> None:
    assert judge(refused(status), RetryAdvice(should_retry=True)) == NOTHING


def test_it_is_only_for_what_the_upstream_answered() -> None:
    assert not judge(UpstreamTimeout("first_event", 300), RetryAdvice(should_retry=True)).same


def test_a_spent_quota_is_asked_for_elsewhere_only() -> None:
    error = UpstreamRefused("no", status=429, wire_type="x", upstream_status=429, should_retry=False)
    assert judge(error) == COOLS_NEXT
    assert judge(error, RetryAdvice(should_retry=True)) == COOLS


def test_the_wait_is_the_headers_else_the_errors() -> None:
    error = UpstreamRefused("no", status=429, wire_type="x", upstream_status=429, retry_after_s=7)
    assert judge(error).after_s == 7
    assert judge(error, RetryAdvice(after_s=3.5)).after_s == 3.5
    assert judge(UpstreamStarting("soon", retry_after_s=1)).after_s == 1
    assert judge(refused(429)).after_s is None


@given(st.none() | st.integers(), st.none() | st.floats(0, 60))
def test_u26_no_wait_is_longer_than_a_minute(said: int | None, advised: float | None) -> None:
    error = UpstreamRefused("no", status=429, wire_type="x", upstream_status=429, retry_after_s=said)
    after_s = judge(error, RetryAdvice(after_s=advised)).after_s
    assert after_s is None or (math.isfinite(after_s) and 0 <= after_s <= 60)


# After the first event.


@pytest.mark.parametrize(
    ("error", "conduct"),
    [
        (None, Conduct.UNTOLD),
        (UpstreamTruncated("cut"), Conduct.FAILED),
        (UpstreamStalled("idle", 120), Conduct.FAILED),
        (UpstreamMalformed("junk"), Conduct.FAILED),
        (IllegalStream("twice"), Conduct.FAILED),
        (refused(529, in_stream=True), Conduct.FAILED),
        (refused(429, in_stream=True), Conduct.RATE_LIMITED),
        (refused(400, in_stream=True), Conduct.UNTOLD),
        (refused(400, ContentRefused, in_stream=True), Conduct.UNTOLD),
        (UpstreamTimeout("total", 3600), Conduct.UNTOLD),
        (errors.Draining("over"), Conduct.UNTOLD),
        (Stopped("by its owner"), Conduct.UNTOLD),
        (InternalError("a defect"), Conduct.UNTOLD),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_broken_answer_says_of_its_target(error: RequestError | None, conduct: Conduct) -> None:
    assert conduct_of(error) is conduct


# All of them.


def kinds(base: type[RequestError]) -> list[type[RequestError]]:
    found = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, base)]
    return [kind for kind in found if kind is not RequestError]


def made(kind: type[RequestError]) -> RequestError:
    if issubclass(kind, ContextOverflow):
        return kind(9, 8)
    if issubclass(kind, UpstreamTimeout):
        return kind("idle", 1)
    if issubclass(kind, UpstreamRefused):
        return kind("no", status=500, wire_type="x", upstream_status=500)
    return kind("no")


@pytest.mark.parametrize("kind", kinds(RequestError), ids=lambda kind: kind.__name__)
def test_only_what_an_upstream_did_leads_anywhere_or_counts(kind: type[RequestError]) -> None:
    verdict = judge(made(kind))
    if not issubclass(kind, UpstreamError):
        assert verdict.conduct is Conduct.UNTOLD
        assert verdict.elsewhere is (Elsewhere.LARGER if kind is ContextOverflow else Elsewhere.NOWHERE)
    assert not verdict.same or verdict.elsewhere is Elsewhere.ANY, "what the same may be asked, another may be too"
    assert (verdict.conduct is Conduct.UNTOLD) == (verdict.elsewhere is not Elsewhere.ANY)


@given(st.integers(400, 599), st.none() | st.booleans())
def test_contract_6_the_same_target_again_only_on_429_503_529_unless_it_says_so(status: int, said: bool | None) -> None:
    verdict = judge(refused(status), RetryAdvice(should_retry=said))
    is_clients = 400 <= status < 500 and status not in {401, 402, 403, 408, 429}
    assert (verdict.elsewhere is Elsewhere.NOWHERE) == is_clients
    assert verdict.same == (not is_clients and (status in {429, 503, 529} if said is None else said))


def test_the_table_has_a_row_for_each_kind_of_answer() -> None:
    rows = [line for line in (verdicts.__doc__ or "").splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 14
    for said in ("429", "503, 529", "401, 402, 403", "408", "content", "silence", "TLS"):
        assert sum(said in row for row in rows) == 1, said
