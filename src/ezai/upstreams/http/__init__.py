"""The HTTP/1.1 client for upstreams. It knows HTTP and nothing of dialects, events or retries.

    request     PURE  a request's head, written and checked
    response    PURE  an answer's bytes, read: strict framing, bounded headers
    addresses   a name's addresses, and the first of them that answers
    proxy       PURE  which proxy there is for an origin, what it is asked, what its refusal means
    tls         whose certificates are accepted, what a failed handshake means
    dial        making a connection of these three, up to where a request may be written
    connection  one connection, and when it may be used again
    exchange    what the pipeline holds: the answer as it comes, back-pressure, how it ends
    pool        the open connections, and the idle ones to use again
    client      opening an exchange: an idle connection or a fresh one, one replay of a stale one

To cancel an exchange is to close its socket: no task is behind it, so there is nothing to join. Only a race between
several addresses takes tasks, and it has joined them before it ends.

Each client has its own pool, and so each upstream: what may differ between two of one origin (credential, proxy, whom
to trust) then never meets in a connection.
"""

from ezai.upstreams.http.client import DIRECT, Egress, HttpClient, Limits
from ezai.upstreams.http.exchange import HttpExchange

__all__ = ["DIRECT", "Egress", "HttpClient", "HttpExchange", "Limits"]
