"""The processes: the gateway's own, and those beside it, which are started, noticed when they die, and ended.

This file stays empty of imports: the embedded child passes through it on its way to `embedded_child`.

The master:
service.py          one gateway from its start to its end; reloads and upgrades
stopping.py         how far the end has come, and the signals that move it on
sockets.py          the listening socket, bound or inherited
upgrade.py          a successor that takes over
notify.py           what systemd is told
files.py            open files, and how many connections fit
loop.py             which event loop serves
heap.py             memory given back after a burst

Who serves:
snapshot.py         what is served by, and what serving is
serving.py          one process that serves: store, listener, the present gateway
draining.py         its end, in stages
workers.py          several processes that serve, as the master has them
worker_process.py   such a process
worker.py           what it does
control.py          what master and workers tell each other

The embedded model:
embedded_models.py  those that run
embedded.py         one's process as the gateway sees it
embedded_child.py   that process itself
backoff.py          what processes died of, and how long to wait before another takes their place
"""
