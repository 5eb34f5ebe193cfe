"""The processes: the gateway's own, and those beside it, which are started, noticed when they die, and ended.

This file stays empty of imports: the embedded child passes through it on its way to `embedded_child`.

service.py          one gateway process, from its start to its end
embedded.py         the embedded model's process as the gateway sees it
embedded_child.py   that process itself
backoff.py          how long to wait before it is started again
"""
