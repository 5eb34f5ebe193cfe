"""Error answers of an upstream, as the client is told them.

Source: reference of the Messages API, section 6. The gateway's own credential failing is no business of the client's
401 handling, an HTML page is never passed on, and a sentence of the upstream's is cut to size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ezai.errors import ContentRefused, ContextOverflow, ContextRefused, NotFound, RequestError, UpstreamRefused
from ezai.protocol.openai.errors import ErrorObject, read_error
from ezai.translate.base import Headers
from ezai.translate.credentials import cut_from_bytes, cut_from_text

MAX_MESSAGE_CHARS = 500
MAX_RETRY_AFTER_S = 3600

_STATUS = re.compile("[45][0-9]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_OVERFLOW_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_OVERFLOW_LIMIT = re.compile(r"maximum context length (?:is|of) (\d+) tokens")
_OVERFLOW_WORDS = re.compile(r"prompt is too long|context (?:limit|length|size|window)", re.IGNORECASE)
_OVERFLOW_STATUSES = {400, 413, 422}
_FITS = re.compile(r"(?:> |context length (?:is|of) (?:only )?)(\d{1,12})\b")
_OVERFLOW_PROMPT = re.compile(r"(?:resulted in|requested|contains(?: at least)?) (\d+) (?:input )?tokens")

# As they are written: by OpenAI and Azure ("ResponsibleAIPolicyViolation" stands inside), by Anthropic ("Output
# blocked by content filtering policy"), by OpenRouter ("requires moderation ... Your input was flagged for").
_CONTENT_CODES = {"content_filter", "content_policy_violation", "moderation_blocked", "refusal"}
_CONTENT_WORDS = re.compile(
    r"content (?:filtering |management )?policy|usage polic|safety system|(?:input|prompt|output|content) was flagged",
    re.IGNORECASE,
)


class _Told(NamedTuple):
    status: int
    wire_type: str
    should_retry: bool | None = None


_BY_STATUS = {
    400: _Told(400, "invalid_request_error"),
    401: _Told(502, "api_error", should_retry=False),
    402: _Told(502, "api_error", should_retry=False),
    403: _Told(502, "api_error", should_retry=False),
    404: _Told(404, "not_found_error"),
    408: _Told(504, "timeout_error"),
    413: _Told(413, "request_too_large"),
    422: _Told(400, "invalid_request_error"),
    429: _Told(429, "rate_limit_error"),
    503: _Told(529, "overloaded_error"),
    504: _Told(504, "timeout_error"),
    529: _Told(529, "overloaded_error"),
}
_BY_CODE = {"rate_limit_exceeded": 429, "insufficient_quota": 429}
"""OpenAI's codes, where the status is not told."""
_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def chat_refusal(
    status: int, headers: Headers, body: bytes, requested_model: str, credentials: Sequence[str] = ()
) -> RequestError:
    """An error answer of a Chat Completions upstream."""
    error = read_error(cut_from_bytes(body, credentials))
    if error is not None and (understood := _understood(status, error, requested_model)):
        return understood
    return told(status, _sentence(status, error), retry_after_s=_retry_after(headers), error=error)


def in_stream_refusal(error: ErrorObject, requested_model: str, credentials: Sequence[str] = ()) -> RequestError:
    """An error object inside a 200 stream: mapped by the status or code it names, else by its type, else a 500."""
    error = msgspec.structs.replace(error, message=cut_from_text(error.message, credentials))
    status = status_named(error)
    if understood := _understood(status, error, requested_model, in_stream=True):
        return understood
    return told(status, _sentence(status, error), error=error, in_stream=True)


def status_named(error: ErrorObject) -> int:
    """The status that an error names: as its code, or by its type; 500 where it names none."""
    code = str(error.code)
    if _STATUS.fullmatch(code):
        return int(code)
    return _BY_CODE.get(code) or status_of_type(error.type or "")


def told(
    status: int,
    message: str,
    *,
    retry_after_s: int | None = None,
    error: ErrorObject | None = None,
    in_stream: bool = False,
    body: bytes | None = None,
) -> UpstreamRefused:
    """The refusal that the client is told for an upstream's `status`; `error` is what it said, where it could be read.

    A `ContextRefused` or `ContentRefused` where it says so.
    """
    fallback = _Told(502, "api_error") if status >= 500 else _Told(400, "invalid_request_error")
    mapped = _BY_STATUS.get(status, fallback)
    should_retry = mapped.should_retry
    if error is not None and error.code == "insufficient_quota":
        should_retry = False
    refusal = _kind(status, error)(
        message,
        status=mapped.status,
        wire_type=mapped.wire_type,
        upstream_status=None if in_stream else status,
        body=body,
        retry_after_s=retry_after_s,
        should_retry=should_retry,
    )
    if isinstance(refusal, ContextRefused) and (fits := _FITS.search(message)):
        refusal.context_tokens = int(fits[1])
    return refusal


def status_of_type(wire_type: str) -> int:
    """The status that belongs to an `error.type` of the Messages API; 500 for an unknown one."""
    return _BY_TYPE.get(wire_type, 500)


def refuses_content(error: ErrorObject) -> bool:
    """Whether it is about what was said, by somebody's rules of what may be."""
    return bool(_CONTENT_CODES & {str(error.code), str(error.type)} or _CONTENT_WORDS.search(error.message))


def _kind(status: int, error: ErrorObject | None) -> type[UpstreamRefused]:
    if error is None:
        return UpstreamRefused
    if refuses_content(error):
        return ContentRefused
    if _tells_overflow(error) or (status in _OVERFLOW_STATUSES and _OVERFLOW_WORDS.search(error.message)):
        return ContextRefused
    return UpstreamRefused


def _understood(
    status: int, error: ErrorObject, requested_model: str, *, in_stream: bool = False
) -> RequestError | None:
    """What the Messages API has words, or a status, of its own for."""
    if overflow := _overflow(error):
        return overflow
    if refuses_content(error):  # under a 403 too, which elsewhere is the gateway's own trouble
        refusal = told(400, _sentence(400, error), error=error)
        refusal.upstream_status = None if in_stream else status
        return refusal
    if status == 404 and "model" in error.message.lower():
        return NotFound(f"model: {requested_model}")
    return None


def _sentence(status: int, error: ErrorObject | None) -> str:
    if status in {401, 403}:
        return "The upstream refused the gateway's own credential; the operator has to mend it."
    text = _CONTROL.sub(" ", error.message).strip() if error else ""
    if not text:
        return f"The upstream answered with status {status}."
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def _overflow(error: ErrorObject) -> ContextOverflow | None:
    if error.n_prompt_tokens is not None and error.n_ctx is not None:
        return ContextOverflow(error.n_prompt_tokens, error.n_ctx)
    if not _tells_overflow(error):
        return None
    limit, prompt = _OVERFLOW_LIMIT.search(error.message), _OVERFLOW_PROMPT.search(error.message)
    return ContextOverflow(int(prompt[1]), int(limit[1])) if limit and prompt else None


def _tells_overflow(error: ErrorObject) -> bool:
    return bool(_OVERFLOW_CODES & {str(error.code), str(error.type)})


def _retry_after(headers: Headers) -> int | None:
    """Whole seconds of `retry-after`, between 0 and an hour; a date or junk is none."""
    for name, value in headers:
        if name == b"retry-after" and value.strip().isdigit():
            return min(int(value), MAX_RETRY_AFTER_S)
    return None
