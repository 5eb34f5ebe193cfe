"""The HTTP edge in.

edge.py        the HTTP/1.1 protocol: ours on uvicorn's, so that every answer has our shape
edge_settings.py  what the connections of clients are held to
head_check.py  what of a head is refused although the parser takes it
lingering.py   closing behind a last answer without destroying it
http10.py      answers without chunks, for the clients of HTTP/1.0
http2/         HTTP/2, for the clients that speak it
tls.py         the gateway's certificate
reader_watch.py  telling a stopped reader from a slow one
binding.py     binding a socket
acceptor.py    accepting, as many connections as there are places for
listener.py    the date header, what ticks, stopping
dataplane.py   the ASGI callable for /v1 and the probes: routes, authentication, errors
body.py        receiving a request body: counted, decoded
exchange.py    one HTTP request and its answer, over ASGI
direct_line.py the short way to the connection, beside ASGI
pages.py       the pages for browsers, imported with the first request for one
cors.py        web pages of other origins that may call /v1
models.py      /v1/models in both shapes
"""
