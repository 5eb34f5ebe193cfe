"""The one error tree.

Every error says what was wrong, where, and how to mend it, in words a caller can act on.

    EzaiError
    ├── SetupError                     told to a terminal as one sentence; the process exits 1
    │   └── ConfigurationError         file, key, what was wrong, how to fix it
    └── RequestError                   answered over HTTP: wire type, status, retry advice, error code
        ├── InvalidRequest             400 invalid_request_error
        │   └── ContextOverflow        400 "prompt is too long: N tokens > M maximum"
        ├── AuthenticationFailed       401 authentication_error
        ├── PermissionDenied           403 permission_error
        ├── NotFound                   404 not_found_error
        ├── MethodNotAllowed           405 invalid_request_error
        ├── RequestReceiptTimeout      408 timeout_error
        ├── RequestTooLarge            413 request_too_large
        ├── HeadersTooLarge            431 invalid_request_error
        ├── RateLimited                429 rate_limit_error
        ├── Overloaded                 529 overloaded_error
        │   ├── NoTargetReady          529, every target of the route is out for now
        │   └── Draining               529, the gateway is shutting down
        ├── InternalError              500 api_error, ours
        ├── Stopped                    409 conflict_error, the stream was stopped by id
        └── UpstreamError              502 api_error, theirs
            ├── UpstreamUnreachable    connect or TLS failed: nothing was sent
            │   └── UpstreamStarting   529 overloaded_error, the embedded model is being started
            ├── UpstreamMalformed      it broke HTTP, SSE, UTF-8 or JSON
            │   └── IllegalStream      a known event in an order that breaks an SDK
            ├── UpstreamTruncated      its stream ended before the end was told
            ├── UpstreamTimeout        504 timeout_error, a phase ran out
            │   └── UpstreamStalled    silence inside a running stream
            └── UpstreamRefused        it answered with an error of its own, before or in its stream
                ├── ContextRefused     the prompt does not fit its model, in its own words
                └── ContentRefused     it will not answer what was said

A `RequestError` is raised before the answer begins and rendered as a JSON body with its status; after that it
is rendered as one `event: error`. Either way `wire_type` and `error_code` are the same.
Wire types and statuses: reference of the Messages API, "Errors".
"""

from __future__ import annotations

from typing import Any, ClassVar


class EzaiError(Exception):
    """Base of all errors that this package raises on purpose. Abstract."""


# Told to a terminal.


class SetupError(EzaiError):
    """Something that the operator has to mend. `str()` is one plain sentence, shown without a traceback."""


class ConfigurationError(SetupError):
    """A configuration value was refused. `str()` names file, key, what was wrong and how to fix it."""

    def __init__(self, where: str, key: str, problem: str, fix: str) -> None:
        super().__init__(f"{where}: {key}: {problem}. {fix}")
        self.where = where
        self.key = key
        self.problem = problem
        self.fix = fix


# Answered over HTTP.


class RequestError(EzaiError):
    """An answer that is an error. Abstract: raise a subclass.

    `message` goes to the client as it is, so it holds no secret, path or address of the inside.
    `error_code` becomes `error.details.error_code`; it equals the cause in the ledger and the log.
    `should_retry` becomes the header `x-should-retry` where it is not None (the SDKs obey it over the status).
    """

    status: ClassVar[int] = 500
    wire_type: ClassVar[str] = "api_error"
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        error_code: str | None = None,
        retry_after_s: int | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code or self.code
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, also through another process: an error is often made of other values than its message."""
        return _as_it_was, (type(self), self.args, self.__dict__)

    @property
    def http_status(self) -> int:
        """The status of the answer, when the error comes before the answer has begun."""
        return self.status

    @property
    def error_type(self) -> str:
        """`error.type` on the wire."""
        return self.wire_type

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The retry advice, as header fields."""
        fields: list[tuple[bytes, bytes]] = []
        if self.retry_after_s is not None:
            fields.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.should_retry is not None:
            fields.append((b"x-should-retry", b"true" if self.should_retry else b"false"))
        return fields


def _as_it_was(kind: type[RequestError], args: tuple[Any, ...], state: dict[str, Any]) -> RequestError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidRequest(RequestError):
    """The request breaks the protocol; `message` starts with the field it is about."""

    status, wire_type, code = 400, "invalid_request_error", "invalid_request"


class ContextOverflow(InvalidRequest):
    """The prompt does not fit the model. Clients parse the two numbers to start compaction."""

    code = "context_overflow"

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(f"prompt is too long: {prompt_tokens} tokens > {context_tokens} maximum")
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class AuthenticationFailed(RequestError):
    """No credential, an unknown one, or two different valid ones."""

    status, wire_type, code = 401, "authentication_error", "authentication_failed"


class PermissionDenied(RequestError):
    """The credential, or the place the request comes from, may not do this."""

    status, wire_type, code = 403, "permission_error", "permission_denied"


class NotFound(RequestError):
    """No such path, model or stream."""

    status, wire_type, code = 404, "not_found_error", "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, under another method."""

    status, wire_type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestReceiptTimeout(RequestError):
    """The client took too long to send its request."""

    status, wire_type, code = 408, "timeout_error", "request_receipt_timeout"


class RequestTooLarge(RequestError):
    """The body is over `[limits] body_mib`, before or after decoding."""

    status, wire_type, code = 413, "request_too_large", "request_too_large"


class HeadersTooLarge(RequestError):
    """The headers are over `[limits] header_kib`."""

    status, wire_type, code = 431, "invalid_request_error", "headers_too_large"


class RateLimited(RequestError):
    """A limit of the key was reached."""

    status, wire_type, code = 429, "rate_limit_error", "rate_limited"


class Overloaded(RequestError):
    """No capacity now; trying again soon is right."""

    status, wire_type, code = 529, "overloaded_error", "overloaded"


class NoTargetReady(Overloaded):
    """Every target of the route has its breaker open or cools down; `retry_after_s` is until one may be asked."""

    code = "no_target_ready"


class Draining(Overloaded):
    """The gateway is shutting down; another instance, or this one in a moment, will serve."""

    code = "draining"


class InternalError(RequestError):
    """A defect of the gateway. The message says no more than that; the log has the rest."""


class Stopped(RequestError):
    """The stream was stopped by its owner, by id."""

    status, wire_type, code = 409, "conflict_error", "stopped"


class UpstreamError(RequestError):
    """The upstream broke its side. Never the client's fault."""

    status, wire_type, code = 502, "api_error", "upstream_error"


class UpstreamUnreachable(UpstreamError):
    """No connection could be made: nothing was sent, so asking again is safe.

    `should_retry` is False where it is also in vain: the certificate is not accepted, or the proxy refuses.
    """

    code = "upstream_unreachable"


class UpstreamStarting(UpstreamUnreachable):
    """The embedded model's process is being started: nothing was sent, and trying again soon is right."""

    status, wire_type, code = 529, "overloaded_error", "upstream_starting"


class UpstreamMalformed(UpstreamError):
    """The upstream sent what is not HTTP, not SSE, not UTF-8 or not JSON, or more of it than allowed."""

    code = "upstream_malformed"


class IllegalStream(UpstreamMalformed):
    """A known event came in an order that breaks the accumulators of the SDKs."""

    code = "illegal_stream"


class UpstreamTruncated(UpstreamError):
    """The upstream's stream ended, or its connection broke, before it had told its end."""

    code = "upstream_truncated"


class UpstreamTimeout(UpstreamError):
    """A phase of the exchange ran out of time; `phase` names it as in the configuration.

    `proxied` is for the phase `connect`: there is a proxy on the way, which may be what did not answer.
    """

    status, wire_type, code = 504, "timeout_error", "upstream_timeout"

    def __init__(self, phase: str, limit_s: float, *, proxied: bool = False) -> None:
        what = "took longer than"
        if phase == "connect":
            what = f"could not be reached{' through its proxy' if proxied else ''} within"
        super().__init__(f"The upstream {what} {limit_s:g} s (timeouts.{phase}).")
        self.phase = phase
        self.limit_s = limit_s


class UpstreamStalled(UpstreamTimeout):
    """A running stream fell silent for longer than `timeouts.idle`."""

    code = "upstream_stalled"


class UpstreamRefused(UpstreamError):
    """The upstream answered with an error of its own.

    `status` and `wire_type` are what the client is told, already mapped; `upstream_status` is what the upstream
    said (None for an error inside its stream). `body` is the upstream's own body where that is Anthropic-shaped
    and so may be passed on, else None.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        wire_type: str,
        upstream_status: int | None,
        body: bytes | None = None,
        error_code: str | None = None,
        retry_after_s: int | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message, error_code=error_code, retry_after_s=retry_after_s, should_retry=should_retry)
        self.refused_status = status
        self.refused_type = wire_type
        self.upstream_status = upstream_status
        self.body = body

    @property
    def http_status(self) -> int:
        return self.refused_status

    @property
    def error_type(self) -> str:
        return self.refused_type


class ContextRefused(UpstreamRefused):
    """The prompt, or what was asked for with it, does not fit the model; said in the upstream's own words.

    `context_tokens` is how much does fit, where those words tell.
    """

    code = "context_overflow"
    context_tokens: int | None = None


class ContentRefused(UpstreamRefused):
    """The upstream will not answer what was said. Nobody else is asked for it: that would go around its rules."""

    code = "content_refused"
