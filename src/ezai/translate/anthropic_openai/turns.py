"""A conversation as chat messages.

Consecutive turns of one role are merged, as the hosted API does. Results of tools become `tool` messages right behind
the calls they answer, in their order; whatever else the user said follows as one message. What a chat message cannot
hold is refused under the name of its field.
"""

from __future__ import annotations

import binascii
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import msgspec

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.conversation import (
    Block,
    ContentParts,
    Conversation,
    DocumentBlock,
    ImageBlock,
    ImageData,
    MessageParam,
    PassedOver,
    PdfData,
    ResultBlock,
    SearchResultBlock,
    TextBlock,
    TextData,
    ThinkingBlock,
    ToolReference,
    ToolResultBlock,
    ToolUseBlock,
    Url,
)
from ezai.translate.anthropic_openai.signed_ids import parted_id
from ezai.translate.anthropic_openai.tools import ToolNames
from ezai.translate.base import MidSystem, UpstreamFacts
from ezai.translate.signatures import REASONING, REASONING_CONTENT, REASONING_DETAILS, verified_field

BILLING = "x-anthropic-billing-header:"
"""How Claude Code's note to the hosted API's accounting begins: it differs each time, and would spoil every cache."""

_GIVEN_BACK = {REASONING_CONTENT: REASONING_CONTENT, REASONING: REASONING, REASONING_DETAILS: REASONING}
"""The field that reasoning goes back in, by the one that it came in: OpenRouter takes its details as text too."""

ChatMessage = dict[str, Any]
Part = dict[str, Any]


class Placed(NamedTuple):
    """A block and where the client wrote it."""

    place: str
    block: Block


@dataclass(slots=True)
class Turn:
    """Consecutive messages of one role."""

    role: str
    blocks: list[Placed] = field(default_factory=list)

    def all(self, kind: type[Any]) -> list[Any]:
        return [block for _, block in self.blocks if isinstance(block, kind)]


def chat_messages(conversation: Conversation, facts: UpstreamFacts, names: ToolNames) -> list[ChatMessage]:
    """The whole conversation. Raises `InvalidRequest` for what it may not hold, or this upstream does not take."""
    return _Writer(conversation, facts, names).messages()


class _Writer:
    def __init__(self, conversation: Conversation, facts: UpstreamFacts, names: ToolNames) -> None:
        self._conversation = conversation
        self._facts = facts
        self._names = names
        self._calls: frozenset[str] = frozenset()
        self._hoisted: list[str] = []
        self._notes: list[ChatMessage] = []

    def messages(self) -> list[ChatMessage]:
        turns = self._turns()
        last = f"messages.{len(self._conversation.messages) - 1}"
        if turns[-1].role == "assistant" and not self._facts.takes_prefill:
            raise InvalidRequest(f"{last}: the upstream of this model cannot go on with an answer; end with user")
        loop = _loop_start(turns)
        written: list[ChatMessage] = []
        for number, turn in enumerate(turns):
            written += self._user(turn) if turn.role != "assistant" else self._assistant(turn, in_loop=number > loop)
        if self._calls:
            raise InvalidRequest(f"{last}: no tool_result answers the tool_use {', '.join(sorted(self._calls))}")
        return [*self._system(), *written, *self._take_notes()]

    # Turns.

    def _system(self) -> Iterator[ChatMessage]:
        texts = [*_system_texts(self._conversation.system), *self._hoisted]
        if texts:
            yield {"role": "system", "content": "\n\n".join(texts)}

    def _turns(self) -> list[Turn]:
        turns: list[Turn] = []
        for number, message in enumerate(self._conversation.messages):
            role, blocks = self._placed(message, f"messages.{number}.content")
            if role == "assistant" and all(_is_silent(block) for _, block in blocks):
                continue  # there is no such chat message, and what stands around it is one turn
            if role and (not turns or turns[-1].role != role):
                turns.append(Turn(role))
            if role:
                turns[-1].blocks += blocks
        if not turns:
            raise InvalidRequest("messages: there is nothing in them to answer")
        return turns

    def _placed(self, message: MessageParam, place: str) -> tuple[str, list[Placed]]:
        """The role to write it under, empty for none, and its blocks."""
        content = message.content
        blocks: Sequence[Block] = [TextBlock(content)] if isinstance(content, str) else content
        if message.role != "system":
            return message.role, [Placed(f"{place}.{number}", block) for number, block in enumerate(blocks)]
        text = _joined([block.text for block in blocks if isinstance(block, TextBlock)])
        match self._facts.mid_system:
            case MidSystem.HOIST:
                self._hoisted.append(text)
                return "", []
            case MidSystem.NATIVE:
                return "system", [Placed(place, TextBlock(text))]
        return "user", [Placed(place, TextBlock(f"<system-reminder>\n{text}\n</system-reminder>"))]

    # The user's.

    def _user(self, turn: Turn) -> Iterator[ChatMessage]:
        if turn.role == "system":
            self._notes.append({"role": "system", "content": _texts(turn.all(TextBlock))})
            if not self._calls:
                yield from self._take_notes()
            return
        parts: list[Part] = []
        for place, block in turn.blocks:
            if isinstance(block, ToolResultBlock):
                message, shown = self._result(block, place)
                yield from message
                parts += shown
        for place, block in turn.blocks:
            if not isinstance(block, ToolResultBlock):
                parts += self._parts(block, place)
        self._check_answered(turn)
        self._calls = frozenset()
        yield from self._take_notes()
        if parts or not turn.all(ToolResultBlock):
            yield {"role": "user", "content": _content(parts)}

    def _check_answered(self, turn: Turn) -> None:
        """Each call of the turn before has one result, which is what every upstream wants."""
        answered = Counter(block.tool_use_id for block in turn.all(ToolResultBlock))
        place = turn.blocks[0].place.rpartition(".")[0] if turn.blocks else "messages"
        if missing := self._calls - answered.keys():
            raise InvalidRequest(f"{place}: no tool_result answers the tool_use {', '.join(sorted(missing))}")
        if twice := {one for one, times in answered.items() if times > 1}:
            raise InvalidRequest(f"{place}: more than one tool_result answers the tool_use {', '.join(sorted(twice))}")

    def _take_notes(self) -> list[ChatMessage]:
        """System messages in their place, or behind the results that have to follow their calls at once."""
        notes, self._notes = self._notes, []
        return notes

    def _result(self, block: ToolResultBlock, place: str) -> tuple[list[ChatMessage], list[Part]]:
        """The `tool` message, and what of the result only a user's message can show."""
        if block.tool_use_id not in self._calls:
            raise InvalidRequest(
                f"{place}.tool_use_id: no tool_use of the assistant's message before has the id {block.tool_use_id!r}"
            )
        content = block.content or ""
        blocks: Sequence[ResultBlock] = [TextBlock(content)] if isinstance(content, str) else content
        texts, shown = [], list[Part]()
        for number, part in enumerate(blocks):
            for made in self._parts(part, f"{place}.content.{number}"):
                texts.append(made["text"] if made["type"] == "text" else "[shown in the next message]")
                shown += [made] if made["type"] != "text" else []
        text = ("Error: " if block.is_error else "") + _joined(texts)
        if not self._facts.takes_tools:
            call_id, _ = parted_id(block.tool_use_id)
            return [], [_text(f'<tool_result id="{call_id}">\n{text}\n</tool_result>'), *shown]
        answered = self._names.id_of(block.tool_use_id)
        return [{"role": "tool", "tool_call_id": answered, "content": text}], shown

    def _parts(self, block: Block | ResultBlock, place: str) -> list[Part]:
        match block:
            case TextBlock(text=text):
                return [_text(text)] if text else []
            case ImageBlock():
                return [self._image(block, place)]
            case DocumentBlock():
                return self._document(block, place)
            case SearchResultBlock():
                return [_text(_tagged("search_result", _texts(block.content), source=block.source, title=block.title))]
            case ToolReference(tool_name=name):
                return [_text(f"The tool {self._names.of(name)} can be called now.")]
            case PassedOver() | ThinkingBlock():
                return []
        raise InvalidRequest(f"{place}.type: {_type(block)} has no place in a user's message")

    def _image(self, block: ImageBlock, place: str) -> Part:
        self._check_media(place, "images")
        match block.source:
            case ImageData(media_type=media_type, data=data):
                _check_base64(data, place)
                return _image(f"data:{media_type};base64,{data}")
            case Url(url=url):
                if not url.lower().startswith(("https://", "http://")):
                    raise InvalidRequest(
                        f"{place}.source.url: must be an http or https URL; else send the image itself"
                    )
                return _image(url)
        raise InvalidRequest(f"{place}.source.type: files are kept by Anthropic upstreams alone; send the image")

    def _document(self, block: DocumentBlock, place: str) -> list[Part]:
        match block.source:
            case TextData(data=data):
                return [_text(_tagged("document", data, title=block.title, context=block.context))]
            case ContentParts(content=content):
                parts: Sequence[Any] = [TextBlock(content)] if isinstance(content, str) else content
                made = [
                    part for number, one in enumerate(parts) for part in self._parts(one, f"{place}.source.{number}")
                ]
                return [_text(_tagged("document", "", title=block.title, context=block.context)), *made]
            case PdfData(data=data):
                self._check_media(place, "PDF files")
                _check_base64(data, place)
                name = block.title or "document.pdf"
                url = f"data:application/pdf;base64,{data}"
                return [{"type": "file", "file": {"filename": name, "file_data": url}}]
        raise InvalidRequest(f"{place}.source.type: the upstream of this model fetches no documents; send the document")

    def _check_media(self, place: str, what: str) -> None:
        if not self._facts.takes_media:
            raise InvalidRequest(f"{place}: the upstream of this model takes no {what}")

    # The assistant's.

    def _assistant(self, turn: Turn, *, in_loop: bool) -> Iterator[ChatMessage]:
        for place, block in turn.blocks:
            if not isinstance(block, TextBlock | ToolUseBlock | ThinkingBlock | PassedOver):
                raise InvalidRequest(f"{place}.type: {_type(block)} has no place in an assistant's message")
        text = "".join(block.text for block in turn.all(TextBlock))
        calls: list[ToolUseBlock] = turn.all(ToolUseBlock)
        self._calls = _ids(turn)
        if calls and not self._facts.takes_tools:
            text = "\n".join(filter(None, [text, *map(_call_in_text, calls)]))
        message: ChatMessage = {"role": "assistant", "content": text or None}
        if calls and self._facts.takes_tools:
            signatures = self._names.signatures_of([call.id for call in calls])
            written = (self._call(call, place) for place, call in _calls(turn))
            message["tool_calls"] = [call | extra for call, extra in zip(written, signatures, strict=True)]
        yield message | (self._reasoning(turn) if in_loop else {})

    def _call(self, call: ToolUseBlock, place: str) -> dict[str, Any]:
        arguments = bytes(call.input).decode()
        if not arguments.startswith("{"):
            raise InvalidRequest(f"{place}.input: must be a JSON object")
        return {
            "id": self._names.id_of(call.id),
            "type": "function",
            "function": {"name": self._names.of(call.name), "arguments": arguments},
        }

    def _reasoning(self, turn: Turn) -> ChatMessage:
        """What the model thought between its calls goes back where it came from; some models lose the thread else."""
        fields: dict[str, str] = {}
        for block in turn.all(ThinkingBlock):
            field = verified_field(self._facts.signing_key, block.thinking, block.signature)
            if (name := _GIVEN_BACK.get(field or "")) and block.thinking:
                fields[name] = fields.get(name, "") + block.thinking
        return fields


def _check_base64(data: str, place: str) -> None:
    try:
        empty = not binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise InvalidRequest(f"{place}.source.data: is not valid base64") from None
    if empty:
        raise InvalidRequest(f"{place}.source.data: is empty")


def _is_silent(block: Block) -> bool:
    return isinstance(block, ThinkingBlock | PassedOver) or (isinstance(block, TextBlock) and not block.text)


def _loop_start(turns: Sequence[Turn]) -> int:
    """The number of the last turn in which the user said something: behind it stand calls and their results."""
    said = [n for n, turn in enumerate(turns) if turn.role == "user" and not turn.all(ToolResultBlock)]
    return said[-1] if said else -1


def _ids(turn: Turn) -> frozenset[str]:
    """Of its calls: each of its own, so that a result can name it."""
    ids: set[str] = set()
    for place, call in _calls(turn):
        if not call.name:
            raise InvalidRequest(f"{place}.name: must not be empty")
        if not call.id or call.id in ids:
            raise InvalidRequest(f"{place}.id: must be an id that no other tool_use of the message has")
        ids.add(call.id)
    return frozenset(ids)


def _calls(turn: Turn) -> Iterator[tuple[str, ToolUseBlock]]:
    return ((place, block) for place, block in turn.blocks if isinstance(block, ToolUseBlock))


def _call_in_text(call: ToolUseBlock) -> str:
    name = msgspec.json.encode(call.name).decode()
    return f'<tool_call>{{"name":{name},"input":{bytes(call.input).decode()}}}</tool_call>'


def _system_texts(system: str | Sequence[TextBlock] | None) -> Iterator[str]:
    blocks = [TextBlock(system)] if isinstance(system, str) else system or ()
    for number, block in enumerate(blocks):
        text = block.text
        if number == 0 and text.startswith(BILLING):
            text = text.partition("\n")[2]
        if text:
            yield text


def _content(parts: Sequence[Part]) -> str | list[Part]:
    """Text as a string, which every server takes; parts only where there is more than text."""
    if all(part["type"] == "text" for part in parts):
        return _joined([part["text"] for part in parts])
    return list(parts)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _image(url: str) -> Part:
    return {"type": "image_url", "image_url": {"url": url}}


def _texts(blocks: Sequence[TextBlock]) -> str:
    return _joined([block.text for block in blocks])


def _joined(texts: Sequence[str]) -> str:
    return "\n\n".join(filter(None, texts))


def _tagged(tag: str, text: str, **attributes: str | None) -> str:
    named = "".join(f" {name}={msgspec.json.encode(value).decode()}" for name, value in attributes.items() if value)
    return f"<{tag}{named}>\n{text}\n</{tag}>" if text else f"<{tag}{named}/>"


def _type(block: Any) -> str:
    return cast("str", block.__struct_config__.tag)
