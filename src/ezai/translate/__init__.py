"""Dialect to dialect. Pure, one file per pair, one small method per emitted event.

base.py                  what a translator is, and what it must know of an upstream
pairs.py                 the table of pairs
anthropic_anthropic.py   the identity: tap and unary tap
anthropic_openai.py      Messages in, Chat Completions out
crossing.py              which headers cross between a client and an Anthropic upstream
refusals.py              error answers of an upstream, as the client is told them
"""
