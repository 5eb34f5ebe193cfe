"""Decisions. Pure: `now` and every table come in as arguments, nothing is awaited.

keys.py          who is calling, by virtual key
key_format.py    the form of a virtual key, and its checksum
key_terms.py     what a key is created with, checked
openness.py      what a gateway without keys may answer, and to whom
origins.py       which web pages may call it from a browser
pricing.py       what usage costs, in integers
versions.py      the anthropic-version of a request, in strict mode

routing.py       a model name to its targets, and which of them may be asked
walk.py          which target a request asks next, until one answers
verdicts.py      what an attempt's error means: for the request, and for the target
backoff.py       how long to wait before asking again
retry_advice.py  what an upstream's headers say about that
http_date.py     a date in such a header
retry_budget.py  how many may be asking again at one time
breaker.py       how a target has done lately: the breaker and the cool-down
"""
