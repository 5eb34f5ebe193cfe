"""A load of streams on any URL that speaks one of the two dialects: open loop or a fixed number at a time.

What comes is measured per stream, and where a mock stands at the far end every lost, doubled or exchanged token is
found: its text is numbered, and each stream asks for numbers of its own.

plan.py       LoadPlan: what to ask for, how often, and how the clients behave
sequence.py   numbered words: which are missing, came twice, out of order, or belong to somebody else
dialect.py    requests and events of the two dialects, as cheaply as can be read
stream.py     one stream as its client sees it, and the connection it comes over
run.py        arrivals: starting streams, keeping connections, ending what takes too long
report.py     LoadResult: the figures of a run, as a value, a table and JSON
"""

from ezai.lab.load.plan import LoadPlan
from ezai.lab.load.report import LoadResult, Spread
from ezai.lab.load.run import run_load
from ezai.lab.load.stream import StreamEnd, StreamResult

__all__ = ["LoadPlan", "LoadResult", "Spread", "StreamEnd", "StreamResult", "run_load"]
