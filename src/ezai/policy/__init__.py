"""Decisions. Pure: `now` and every table come in as arguments, nothing is awaited.

keys.py      who is calling, by virtual key
openness.py  what a gateway without keys may answer, and to whom
routing.py   a model name to its targets, in order
"""
