"""What the gateway tells its operator.

log.py           the form of log lines, and where they go
log_output.py    writing them without waiting for a reader
request_log.py   one line per request
metrics.py       the same, counted: /metrics
families.py      counts as values, and those of several processes added up
"""
