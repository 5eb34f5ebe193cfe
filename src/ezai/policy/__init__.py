"""Decisions. Pure: `now` and every table come in as arguments, nothing is awaited.

keys.py         who is calling, by virtual key
key_format.py   the form of a virtual key, and its checksum
key_terms.py    what a key is created with, checked
openness.py     what a gateway without keys may answer, and to whom
pricing.py      what usage costs, in integers
routing.py      a model name to its targets, in order
versions.py     the anthropic-version of a request, in strict mode
"""
