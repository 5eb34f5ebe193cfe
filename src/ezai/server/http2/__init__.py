"""HTTP/2 (RFC 9113) in, for the same ASGI callable: imported with the first connection that speaks it.

protocol.py    one connection: the event loop's side, the limits, the times
exchange.py    one stream of it, as ASGI has it
session.py     what the frames of a client mean, without input or output
events.py      what they come to
sending.py     what goes out: windows, whose turn it is
fields.py      header blocks: reading and checking a request's, writing an answer's
frames.py      bytes and frames
flood.py       how much a client may ask for that is no request
"""
