"""What the gateway tells its operator.

log.py           the form of log lines, and where they go
request_log.py   one line per request
metrics.py       the same, counted: /metrics
"""
