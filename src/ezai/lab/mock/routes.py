"""Path to answer: the well-behaved one, with the behaviour's faults added to it."""

from __future__ import annotations

from collections.abc import Callable

from ezai.lab.mock import wire
from ezai.lab.mock.asked import Asked, Body, HttpRequest, Refused, read_body
from ezai.lab.mock.behaviour import Behaviour, LineEnd, StreamFraming
from ezai.lab.mock.faults.placing import each
from ezai.lab.mock.faults.table import FAULTS
from ezai.lab.mock.reply import BODY, Frame, Framing, Items, Reply, Wait, numbered
from ezai.lab.mock.wire import JSON_TYPE, STREAM_TYPE, Wire, encode
from ezai.lab.mock.wire_anthropic import ANTHROPIC
from ezai.lab.mock.wire_openai import OPENAI

_LINE_ENDS = {LineEnd.CRLF: b"\r\n", LineEnd.CR: b"\r"}

Route = Callable[[Asked], Reply]


def wire_of(request: HttpRequest) -> Wire:
    """The dialect that a request is in."""
    if _resource(request) == "chat/completions":
        return OPENAI
    if _resource(request).startswith("messages"):
        return ANTHROPIC
    return OPENAI if wire.wants_openai(request) else ANTHROPIC


def body_of(request: HttpRequest) -> Body:
    """What the request says. Raises `Refused`."""
    return read_body(request.body) if request.method == "POST" else Body()


def answer(asked: Asked, *, is_faulty: bool) -> Reply:
    """The answer to a request, ready to be played."""
    behaviour = asked.behaviour
    try:
        reply = _route(asked.request)(asked)
    except Refused as refusal:
        reply = refused(asked, 400, str(refusal))
    if is_faulty:
        for name, value in behaviour.faults:
            FAULTS[name].apply(reply, value, asked)
    else:
        reply.not_applied = [name for name, _ in behaviour.faults]
    if asked.request.method == "HEAD":
        reply.framing, reply.source = Framing.NONE, ()
    if line_end := _LINE_ENDS.get(behaviour.line_end):
        reply.body_stages.insert(0, lambda items: _with_line_ends(items, line_end))
    return reply


def refused(asked: Asked, status: int, message: str) -> Reply:
    """An error answer of the mock itself."""
    error = asked.wire.error_body(asked.wire.error_type(status), message, asked.request_id)
    return _json(asked, status, Frame(error, BODY))


def plain(status: int, body: bytes, content_type: bytes = JSON_TYPE) -> Reply:
    """An answer outside both dialects."""
    return Reply(status, [(b"content-type", content_type)], numbered([Frame(body, BODY)]))


# The routes.


def _generate(asked: Asked) -> Reply:
    asked.wire.check(asked)
    behaviour = asked.behaviour
    if not asked.body.stream:
        message = asked.wire.whole(asked)
        tokens = wire.output_tokens(behaviour, asked)
        reply = _json(asked, 200, Frame(encode(message), BODY, tokens, message["usage"]))
        if behaviour.rate:
            reply.before.append(Wait(tokens / behaviour.rate))
        return reply
    headers = [(b"content-type", STREAM_TYPE), (b"cache-control", b"no-cache"), *asked.wire.headers(asked.request_id)]
    reply = Reply(200, headers, numbered(asked.wire.events(asked)), _framing(behaviour, Framing.CHUNKED))
    if behaviour.rate:
        pause = Wait(1 / behaviour.rate)
        reply.event_stages.append(lambda items: _paced(items, pause))
    return reply


def _count_tokens(asked: Asked) -> Reply:
    asked.wire.check(asked)
    return _json(asked, 200, Frame(encode({"input_tokens": asked.input_tokens}), BODY))


def _models(asked: Asked) -> Reply:
    return _json(asked, 200, Frame(encode(asked.wire.models(["mock"])), BODY))


def _model(asked: Asked) -> Reply:
    name = _resource(asked.request).removeprefix("models/")
    return _json(asked, 200, Frame(encode(asked.wire.model(name)), BODY))


def _probe(_asked: Asked) -> Reply:
    return plain(200, b"", b"text/plain")


def _unknown(asked: Asked) -> Reply:
    return refused(asked, 404, f"The mock has no {asked.request.method} {asked.request.path}.")


_ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "messages"): _generate,
    ("POST", "messages/count_tokens"): _count_tokens,
    ("POST", "chat/completions"): _generate,
    ("GET", "models"): _models,
}


def _route(request: HttpRequest) -> Route:
    if request.path in {"/", "/api/hello"}:
        return _probe
    resource = _resource(request)
    if request.method == "GET" and resource.startswith("models/"):
        return _model
    return _ROUTES.get((request.method, resource), _unknown)


def _resource(request: HttpRequest) -> str:
    """What stands behind the first /v1/, so that a base URL may have a prefix."""
    return request.path.partition("/v1/")[2]


def _json(asked: Asked, status: int, frame: Frame) -> Reply:
    headers = [(b"content-type", JSON_TYPE), *asked.wire.headers(asked.request_id)]
    return Reply(status, headers, numbered([frame]), _framing(asked.behaviour, Framing.LENGTH))


def _framing(behaviour: Behaviour, due: Framing) -> Framing:
    if behaviour.framing is StreamFraming.AUTO:
        return due
    if behaviour.framing is StreamFraming.LENGTH and behaviour.endless:
        return Framing.CLOSE  # no length can be told
    return Framing(behaviour.framing.value)


def _paced(items: Items, pause: Wait) -> Items:
    """The items, with the pause before every token but the first."""
    is_first = True
    for item in items:
        if isinstance(item, Frame) and item.tokens:
            if not is_first:
                yield pause
            is_first = False
        yield item


def _with_line_ends(items: Items, line_end: bytes) -> Items:
    return each(items, lambda frame: frame.with_data(frame.data.replace(b"\n", line_end)))
