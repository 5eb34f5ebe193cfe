"""The Messages dialect.

requests.py       the request body: what the gateway reads of it, the rest kept byte for byte
conversation.py   what a translator reads of it
events.py         stream events: bytes -> Event, and the ones made here
order.py          the legal orders as one table; the state of a stream
fold.py           events -> the whole message
answers.py        the whole message and the error shape, as they go on the wire
"""
