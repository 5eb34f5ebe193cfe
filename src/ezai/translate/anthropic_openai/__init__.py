"""Messages in, Chat Completions out.

pair.py            the pair for one target: what the pipeline calls
request.py         a conversation as the body of a chat request, and the terms on which its answer is read
limits.py          what the hosted API refuses of a request
turns.py           its messages
tools.py           its tools
signed_ids.py      ids of calls that carry a signature
builtin_tools.py   those that the hosted API defines
schemas.py         JSON schemas, read
llama_schemas.py   as llama.cpp's own converter takes them
grammar.py         grammars that an answer is held to
narrowing.py       schemas, narrowed to what a grammar holds
numbers.py         numbers, narrowed likewise
schema_joins.py    schemas that hold at once, made one
references.py      what the references in a schema point to
held.py            answers that are held to a grammar
estimate.py        about how many tokens a prompt has
stream.py          chunks to Messages events: which part of a chunk goes where
blocks.py          content blocks as events, one small method per emitted event
reasoning.py       where reasoning stands: in a field, or between tags
calls.py           tool calls put together from fragments
called.py          a tool call that is the text of the answer
bare_calls.py      tool calls that stand in the text of the answer as bare JSON
stops.py           stop sequences, in text that comes in pieces
tally.py           usage, as told and as counted

A unary answer is the fold of the stream, so the upstream is always asked to stream. Source: reference of the Messages
API, section 7.
"""

from ezai.translate.anthropic_openai.pair import AnthropicToOpenAI

__all__ = ["AnthropicToOpenAI"]
