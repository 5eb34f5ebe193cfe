"""The Chat Completions dialect.

chunks.py   the chunks of a stream, read
errors.py   error bodies, read
"""
