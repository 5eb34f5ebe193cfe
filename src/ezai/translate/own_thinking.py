"""Thinking that a gateway signed, taken out of a conversation before it reaches an Anthropic upstream.

The hosted API refuses a conversation for one signature that is not its own, and would refuse it for ever: a client
sends back what it was given. Everything else of the body stays the bytes that it was.
"""

from __future__ import annotations

import msgspec

from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.translate.signatures import PREFIX, is_ours

_MARK = f'"{PREFIX}'.encode()
_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_blocks = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Block(msgspec.Struct, frozen=True):
    type: str = ""
    signature: str | None = None


class _Thinking(msgspec.Struct, frozen=True):
    type: str = ""


def has_own_thinking(body: bytes) -> bool:
    """Whether there may be any; cheap, and never wrong the other way."""
    return _MARK in body


def without_own_thinking(request: MessagesRequest) -> bytes:
    """The body without it; the very same bytes where there is none, or where the body is no conversation.

    A turn of nothing else is left out. Where the turn that is being answered has lost its thinking, `thinking` is
    disabled for this request: with a budget, the API wants every such turn to begin with thinking.
    """
    try:
        messages = _messages(request.members["messages"])
        kept = [message for message in map(_spared, messages) if message is not None]
    except msgspec.DecodeError:
        return request.body  # the upstream has the right words for it
    if kept == messages:
        return request.body
    members = {**request.members, "messages": msgspec.Raw(_encode(kept))}
    if _has_budget(request) and _answered_turn(messages) not in kept:
        members["thinking"] = msgspec.Raw(b'{"type":"disabled"}')
    return _encode(members)


def _spared(message: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """The message without such blocks; the same where it has none, None where nothing is left."""
    content = bytes(message.get("content", b""))
    if _MARK not in content or content[:1] != b"[":
        return message
    blocks = _blocks(content)
    kept = [block for block in blocks if not _is_own_thinking(block)]
    if len(kept) == len(blocks):
        return message
    return {**message, "content": msgspec.Raw(_encode(kept))} if kept else None


def _is_own_thinking(block: msgspec.Raw) -> bool:
    if _MARK not in bytes(block):
        return False
    read = msgspec.json.decode(block, type=_Block)
    return read.type == "thinking" and is_ours(read.signature or "")


def _answered_turn(messages: list[dict[str, msgspec.Raw]]) -> dict[str, msgspec.Raw] | None:
    """The last turn of the assistant."""
    return next((message for message in reversed(messages) if bytes(message.get("role", b"")) == b'"assistant"'), None)


def _has_budget(request: MessagesRequest) -> bool:
    raw = request.members.get("thinking", msgspec.Raw(b"null"))
    thinking = msgspec.json.decode(raw, type=_Thinking | None)
    return thinking is not None and thinking.type == "enabled"
