"""The one walk of a request, from admission to settlement, on ports alone.

request.py   a request as the walk takes it
stream.py    open_stream: the walk, readable top to bottom
dispatch.py  the targets of a route asked in turn, until one answers
attempts.py  one upstream asked once: opening it, its phases, its settlement
coming_body.py  an answer that is no stream, while it comes
client.py    the side that asked, and the head that it is sent
early.py     an answer that begins before its upstream has spoken
relay.py     an upstream's bytes as checked events
unary.py     a whole answer, as an attempt gives it
ending.py    how an ending is told to the client and to the ledger
silence.py   what is as good as silence to a reader, and what fills it
counting.py  count_tokens
driver.py    who runs the walk, and the registry that a shutdown waits on
waiting.py   waiting that a deadline or an interruption can end
"""
