"""Dialect to dialect. Pure, one file or folder per pair, one small method per emitted event.

base.py                  what a translator is, and what it must know of an upstream
pairs.py                 the table of pairs
anthropic_anthropic.py   the identity: tap and unary tap
anthropic_openai/        Messages in, Chat Completions out
crossing.py              which headers cross between a client and an Anthropic upstream
credentials.py           the gateway's own credential, cut out of what an upstream says
own_thinking.py          thinking that a gateway signed, taken out before an Anthropic upstream
terms.py                 what a request settles about reading its answer
signatures.py            of thinking that a gateway made into blocks
refusals.py              error answers of an upstream, as the client is told them
"""
