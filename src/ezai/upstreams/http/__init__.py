"""The HTTP/1.1 client for upstreams. It knows HTTP and nothing of dialects, events or retries.

    request     PURE  a request's head, written and checked
    response    PURE  an answer's bytes, read: strict framing, bounded headers
    connection  one socket: back-pressure, the exchange that the pipeline holds, how it ends
    pool        the open connections, and the idle ones to use again
    client      opening an exchange: an idle connection or a fresh one, one replay of a stale one

To cancel an exchange is to close its socket: there are no tasks in here, so there is nothing to join.
TLS, proxies and address racing belong in `HttpClient._connect`.
"""

from ezai.upstreams.http.client import HttpClient
from ezai.upstreams.http.connection import HttpExchange

__all__ = ["HttpClient", "HttpExchange"]
