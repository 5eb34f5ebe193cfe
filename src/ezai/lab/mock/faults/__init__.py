"""One function per fault. To add one, write its function in the file of its subject and its row in the table.

table.py      every fault: its name, its value, its function, what it means, which rows of the fault table it is for
placing.py    putting something behind or instead of an event
starts.py     before and in place of the answer: delays, silence, interim answers
heads.py      statuses, redirects, headers, bodies that are no stream, content encodings
framing.py    lengths and chunks that lie; pieces; cuts at a byte
endings.py    stalls, cuts and resets after, or inside, an event
contents.py   what events hold: garbage, floods, bombs, absurd usage
order.py      events that are lost, doubled, exchanged, or unknown
openai.py     what only servers of the Chat Completions dialect do
"""
