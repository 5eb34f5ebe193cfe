"""Bytes to values and back. Pure: no asyncio, socket, time, random or logging; nothing here waits or knows a clock.

sse.py          bytes -> frames -> (event name, data)
event.py        one stream event: its bytes, its kind, decoded when asked
usage.py        token counts and how a stream's reports of them merge
end.py          the typed end of a stream
json_count.py   counting the values of a JSON text while it arrives
json_prefix.py  text that is the beginning of a JSON object: checked, and completed where it was cut
members.py      members of a JSON text: taken out without touching the rest; one that is named twice
validation.py   what msgspec says of a value, taken apart
anthropic/      Messages: requests, stream events, the legal orders as a table, fold, answers, errors
openai/         Chat Completions: chunks and errors
"""
