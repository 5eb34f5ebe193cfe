"""A scripted upstream that speaks the Anthropic and the OpenAI wire, and keeps a journal. User's guide: docs/mock.md.

    async with mock_upstream("tokens=5,stall_after=3") as mock:
        ...                                         # point a client at mock.url
        await mock.journal.until(lambda: mock.journal.requests[0].events == 3)

values.py          what a setting's value may be, read from text
reply.py           an answer as it is played: frames, steps between them, head and framing
behaviour.py       Behaviour: what one answer is like, as one immutable value
asked.py           a request, as far as answers depend on it
wire.py            what the dialects have in common; the numbered text
wire_anthropic.py  well-behaved answers in the Messages dialect
wire_openai.py     well-behaved answers in the Chat Completions dialect
faults/            one function per fault, and the table of them all
spec.py            the readable form "tokens=50,stall_after=3", checked against the table
script.py          a TOML file of rules: which request gets which behaviour
journal.py         what was accepted and produced, and waiting on it
routes.py          path -> answer
playback.py        an answer played onto a transport
connection.py      one accepted connection: requests in, answers out
address.py         the address that a mock takes, and its URL
unreachable.py     addresses at which nobody answers
server.py          the listening side, and `mock_upstream`
"""

from ezai.lab.mock.behaviour import Behaviour
from ezai.lab.mock.journal import ConnectionRecord, Ended, Journal, RequestRecord, credential_digest
from ezai.lab.mock.script import Accept, Script
from ezai.lab.mock.server import Mock, mock_upstream
from ezai.lab.mock.spec import behaviour
from ezai.lab.mock.unreachable import Unreachable, black_hole, closed_port

__all__ = [
    "Accept",
    "Behaviour",
    "ConnectionRecord",
    "Ended",
    "Journal",
    "Mock",
    "RequestRecord",
    "Script",
    "Unreachable",
    "behaviour",
    "black_hole",
    "closed_port",
    "credential_digest",
    "mock_upstream",
]
