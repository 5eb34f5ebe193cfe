"""What the gateway tells its operator.

log.py           the form of log lines, and where they go
request_log.py   one line per request: the port `Ledger`, kept as a log
"""
