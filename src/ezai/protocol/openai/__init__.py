"""The Chat Completions dialect.

chunks.py   the chunks of a stream, read
halves.py   characters that a server cut in two, put together
errors.py   error bodies, read
"""
