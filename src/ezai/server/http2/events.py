"""What a client's frames come to."""

from __future__ import annotations

from typing import NamedTuple

from ezai.errors import RequestError
from ezai.server.http2.fields import RequestHead
from ezai.server.http2.sending import StreamState


class RequestArrived(NamedTuple):
    """A request's head; with it the whole request, when there is no body."""

    stream: StreamState
    head: RequestHead
    is_whole: bool


class RequestFaulty(NamedTuple):
    """A request that is no good, at once or later. Its stream is open, to be answered or cut."""

    stream: StreamState
    error: RequestError


class BodyArrived(NamedTuple):
    """A piece of a request's body; `ezai.server.http2.session.Session.consumed` lets the client send more."""

    stream: StreamState
    data: bytes
    is_last: bool


class StreamLost(NamedTuple):
    """The client has cut a stream, or broke its rules so that it had to be cut. It is closed."""

    stream: StreamState


Event = RequestArrived | RequestFaulty | BodyArrived | StreamLost
