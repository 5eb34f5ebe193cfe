"""Tools as functions: which of them the upstream is offered, under which names, and whether it has to call one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.conversation import (
    ChooseAny,
    ChooseNone,
    ChooseTool,
    Conversation,
    ToolChoice,
    ToolParam,
    ToolReference,
    ToolResultBlock,
)
from ezai.translate.anthropic_openai.builtin_tools import BUILT_IN
from ezai.translate.anthropic_openai.schemas import is_strict, read_schema
from ezai.translate.anthropic_openai.signed_ids import parted_id

NO_CALLS = {"tool_choice": "none"}
_NO_SIGNATURE = "skip_thought_signature_validator"
MAX_NAME = 64  # of an OpenAI function; Messages has 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
_MISTRAL = re.compile("[sx]tral", re.IGNORECASE)
_HOSTED_TOOL = re.compile(r"(web_search|web_fetch|code_execution|tool_search_tool|advisor|mcp_toolset)(_|$)")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the upstream is offered. `schema` is JSON of an object, `place` where the client wrote it."""

    place: str
    name: str
    description: str | None
    schema: msgspec.Raw
    strict: bool

    @property
    def schema_place(self) -> str:
        return f"{self.place}.input_schema"


class ToolNames:
    """Names, and ids of calls, that both sides can say: others are changed, the same way each time.

    `short_ids`: the upstream's chat template may take ids of nine letters and digits alone, as Mistral's do.
    `signatures`: it wants its signatures back with its calls, as Gemini does.
    """

    def __init__(self, *, short_ids: bool = False, signatures: bool = False) -> None:
        self._short_ids = short_ids
        self._signatures = signatures
        self.changed: dict[str, str] = {}
        """The upstream's name to the client's, of those that differ."""

    def of(self, name: str) -> str:
        """The upstream's name for a tool."""
        if len(name) <= MAX_NAME:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        short = f"{name[: MAX_NAME - 9]}_{digest}"
        self.changed[short] = name
        return short

    def id_of(self, call_id: str) -> str:
        """The upstream's id for a call of the conversation. What comes from it is never looked up by such an id."""
        call_id, _ = parted_id(call_id)
        if not self._short_ids or _SHORT_ID.fullmatch(call_id):
            return call_id
        return hashlib.sha256(call_id.encode()).hexdigest()[:9]

    def signatures_of(self, call_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The signatures that the ids of one turn's calls carry, as members of the calls; none for who knows of none.

        Where none of them carries one, because another model made the calls, the first has Gemini's word for that.
        """
        signatures = [parted_id(call_id)[1] if self._signatures else "" for call_id in call_ids]
        if self._signatures and not any(signatures):
            signatures[0] = _NO_SIGNATURE
        return [_signed(signature) if signature else {} for signature in signatures]


def _signed(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}}


def wants_signatures(model: str) -> bool:
    """Whether a model, by its name, is one that refuses its calls without the signatures that they came with."""
    return "gemini" in model.lower()


def takes_short_ids(model: str) -> bool:
    """Whether a model, by its name, may be one whose template refuses other ids."""
    return _MISTRAL.search(model) is not None


def offered_tools(conversation: Conversation) -> list[Tool]:
    """What the upstream is offered of the request's tools.

    The hosted API's own tools are left out, and deferred ones until a search has found them. Raises `InvalidRequest`
    for a tool that only the hosted API can translate, a name or a schema that is none.
    """
    found = frozenset(_references(conversation))
    _check_names(conversation.tools or ())
    return [
        _tool(tool, f"tools.{place}")
        for place, tool in enumerate(conversation.tools or ())
        if not _HOSTED_TOOL.match(tool.type or "") and (not tool.defer_loading or tool.name in found)
    ]


def _check_names(tools: Sequence[ToolParam]) -> None:
    seen: set[str] = set()
    for place, tool in enumerate(tools):
        if tool.name and tool.name in seen:
            raise InvalidRequest(f"tools.{place}.name: there is a tool {tool.name[:130]!r} already")
        seen.add(tool.name)


def _references(conversation: Conversation) -> Iterator[str]:
    if not any(tool.defer_loading for tool in conversation.tools or ()):
        return
    for message in conversation.messages:
        for block in message.content:
            if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
                yield from (part.tool_name for part in block.content if isinstance(part, ToolReference))


def _tool(tool: ToolParam, place: str) -> Tool:
    if tool.type not in {None, "custom"}:
        return _built_in(tool, place)
    if not _NAME.fullmatch(tool.name):
        raise InvalidRequest(f"{place}.name: must match [A-Za-z0-9_-]{{1,128}}, got {tool.name[:130]!r}")
    return Tool(place, tool.name, tool.description, _object_schema(tool.input_schema, place), tool.strict is True)


def _built_in(tool: ToolParam, place: str) -> Tool:
    """A tool whose schema the hosted API keeps to itself, because its models have learnt it."""
    kind = re.sub(r"_\d{8}$", "", tool.type or "")
    if kind not in BUILT_IN:
        raise InvalidRequest(f"{place}.type: {tool.type} is offered by Anthropic upstreams alone")
    description, schema = BUILT_IN[kind]
    return Tool(place, tool.name or kind, description, msgspec.Raw(msgspec.json.encode(schema)), strict=False)


def _object_schema(schema: msgspec.Raw, place: str) -> msgspec.Raw:
    if not bytes(schema):
        raise InvalidRequest(f"{place}.input_schema: Field required")
    try:
        kind = msgspec.json.decode(schema, type=_Schema).type
    except (msgspec.DecodeError, RecursionError):
        kind = "none"
    if kind != "object":
        raise InvalidRequest(f"{place}.input_schema: must be a JSON schema of type object")
    return schema


def schema_of(tool: Tool) -> dict[str, Any]:
    """Its schema, read. Raises `InvalidRequest` for one that is none."""
    return read_schema(tool.schema, tool.schema_place)


class _Schema(msgspec.Struct):
    type: str = "object"


# In the body.


def functions(tools: Sequence[Tool], names: ToolNames) -> list[dict[str, Any]]:
    """The tools as the upstream is offered them."""
    return [{"type": "function", "function": _function(tool, names)} for tool in tools]


def _function(tool: Tool, names: ToolNames) -> dict[str, Any]:
    function: dict[str, Any] = {"name": names.of(tool.name), "parameters": tool.schema}
    if tool.description:
        function["description"] = tool.description
    if tool.strict and is_strict(schema_of(tool)):
        function["strict"] = True
    return function


def chosen(choice: ToolChoice | None, names: ToolNames) -> dict[str, Any]:
    """`tool_choice` and `parallel_tool_calls`."""
    body: dict[str, Any] = {}
    match choice:
        case ChooseAny():
            body["tool_choice"] = "required"
        case ChooseTool(name=name):
            body["tool_choice"] = {"type": "function", "function": {"name": names.of(name)}}
        case ChooseNone():
            body |= NO_CALLS
    if calls_once(choice):
        body["parallel_tool_calls"] = False
    return body


def calls_once(choice: ToolChoice | None) -> bool:
    """Whether one call is all that may come."""
    return not isinstance(choice, ChooseNone | None) and choice.disable_parallel_tool_use is True


def check_choice(choice: ToolChoice | None, tools: Sequence[Tool]) -> None:
    """Raise `InvalidRequest` where a call is forced that cannot be made."""
    if isinstance(choice, ChooseAny) and not tools:
        raise InvalidRequest("tool_choice: a tool has to be called, and the upstream of this model is offered none")
    if isinstance(choice, ChooseTool) and all(tool.name != choice.name for tool in tools):
        raise InvalidRequest(f"tool_choice.name: the upstream of this model is offered no tool {choice.name!r}")


# Where the upstream would answer in prose although a call is forced: llama.cpp, whatever its template knows.


def forced(choice: ToolChoice | None, tools: Sequence[Tool]) -> Sequence[Tool]:
    """The tools of which one has to be called; empty: none has to."""
    match choice:
        case ChooseAny():
            return tools
        case ChooseTool(name=name):
            return [tool for tool in tools if tool.name == name]
    return ()


def call_schema(tools: Sequence[Tool], grammar: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an answer that is a call: of one tool its input, of several an object of name and input.

    `grammar` maps each tool's name to its schema as the upstream's grammar takes it.
    """
    if len(tools) == 1:
        schema: dict[str, Any] = grammar[tools[0].name]
        return schema
    return {"anyOf": [_named_call(tool.name, grammar[tool.name]) for tool in tools]}


def _named_call(name: str, schema: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "input": schema},
        "required": ["name", "input"],
        "additionalProperties": False,
    }


def described(tools: Sequence[Tool]) -> str:
    """The tools in words, for a system prompt."""
    lines = ["Answer by calling one of these tools with fitting input:" if len(tools) > 1 else "Answer by calling:"]
    for tool in tools:
        about = f": {tool.description}" if tool.description else ""
        schema = msgspec.json.format(bytes(tool.schema), indent=-1).decode()
        lines.append(f"- {tool.name}{about}\n  input schema: {schema}")
    return "\n".join(lines)
