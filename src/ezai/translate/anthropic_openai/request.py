"""A request of the Messages API as the body of a chat request, and the terms on which its answer is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from ezai.errors import InvalidRequest
from ezai.protocol.anthropic.conversation import ChooseNone, Conversation, OutputFormat, ThinkingParam
from ezai.translate.anthropic_openai.estimate import estimate_tokens
from ezai.translate.anthropic_openai.grammar import MARK, grammar_of_answer, grammar_of_call
from ezai.translate.anthropic_openai.llama_schemas import bounded, for_grammar
from ezai.translate.anthropic_openai.narrowing import PlacedSchema
from ezai.translate.anthropic_openai.schemas import is_strict, read_schema
from ezai.translate.anthropic_openai.tools import (
    NO_CALLS,
    Tool,
    ToolNames,
    call_schema,
    calls_once,
    check_choice,
    chosen,
    described,
    forced,
    functions,
    offered_tools,
    schema_of,
    takes_short_ids,
    wants_signatures,
)
from ezai.translate.anthropic_openai.turns import ChatMessage, chat_messages
from ezai.translate.base import UpstreamFacts
from ezai.translate.terms import AnswerTerms, Thinking

_CHARS_A_TOKEN = 1
"""In a forced call: less than a model's own tokens hold, so that the call is whole before they have run out."""
_OUTPUT_PLACE = "output_config.format.schema"
_MOST_TOKENS = 2**31 - 1
"""More is no number to servers that count in 32 bits."""
_LOW_BUDGET, _MEDIUM_BUDGET = 4_000, 16_000
_REFUSED = {
    "mcp_servers": "MCP servers are connected to by Anthropic upstreams alone",
    "compaction": "conversations are compacted by Anthropic upstreams alone",
    "thread": "threads are kept by Anthropic upstreams alone",
}


class ChatRequest:
    """One request to one upstream. Making it raises `InvalidRequest` for what this upstream cannot be asked.

    `body` is what is generated from, `terms` how the answer is read. `prompt` is the part of the body that is input.
    """

    def __init__(self, conversation: Conversation, model: str, max_tokens: int, facts: UpstreamFacts) -> None:
        _check_offered(conversation)
        self._conversation = conversation
        self._facts = facts
        self._max_tokens = max_tokens
        self._names = ToolNames(
            short_ids=facts.is_llama_cpp or takes_short_ids(model), signatures=wants_signatures(model)
        )
        tools = offered_tools(conversation)
        check_choice(conversation.tool_choice, tools)
        self._called: Sequence[Tool] = forced(conversation.tool_choice, tools) if facts.is_llama_cpp else ()
        self._output = _output_format(conversation)
        self._is_held = facts.grammars and (bool(self._called) or self._output is not None)
        self.prompt: dict[str, Any] = {"model": model, "messages": self._messages()}
        self._check_prefill()
        self._offered: Sequence[Tool] = tools if facts.takes_tools and not self._called else ()
        if self._offered:
            self.prompt["tools"] = functions(self._for_grammar(tools), self._names)
            self.prompt |= NO_CALLS if facts.bare_calls else chosen(conversation.tool_choice, self._names)

    @property
    def body(self) -> dict[str, Any]:
        return {
            **self.prompt,
            **self._sampling(),
            **self._stop(),
            **self._effort(),
            **self._form(),
            **self._user(),
            **self._limit(),
            **self._streaming(),
        }

    @property
    def terms(self) -> AnswerTerms:
        stop = self._stop_sequences()
        return AnswerTerms(
            thinking=_thinking(self._conversation.thinking),
            tool_names=self._names.changed,
            stop_sequences=tuple(stop) if self._enforces(stop) else (),
            called_in_text=tuple(tool.name for tool in self._called),
            mark=MARK if self._is_held else "",
            schema_place=self._schema_place if self._is_held else "",
            offered=tuple(self._names.of(tool.name) for tool in self._offered),
            bare_calls=self._facts.bare_calls and not isinstance(self._conversation.tool_choice, ChooseNone),
            calls_once=calls_once(self._conversation.tool_choice),
            may_end_unread=self._facts.is_llama_cpp and not self._called,
            prompt_tokens=estimate_tokens(self.prompt),
            max_tokens=self._max_tokens,
            signing_key=self._facts.signing_key,
        )

    # The prompt.

    def _messages(self) -> list[ChatMessage]:
        messages = chat_messages(self._conversation, self._facts, self._names)
        if not self._called:
            return messages
        note = described(self._called)
        if messages[0]["role"] == "system":
            return [{"role": "system", "content": f"{messages[0]['content']}\n\n{note}"}, *messages[1:]]
        return [{"role": "system", "content": note}, *messages]

    def _check_prefill(self) -> None:
        """llama.cpp goes on with an answer, or begins one that keeps a schema."""
        if self._facts.is_llama_cpp and self.prompt["messages"][-1]["role"] == "assistant":
            for asked, name in ((self._called, "tool_choice"), (self._output, "output_config.format")):
                if asked:
                    last = len(self._conversation.messages) - 1
                    raise InvalidRequest(
                        f"messages.{last}: the embedded model cannot both go on with an answer and keep to {name}; "
                        "end with user"
                    )

    def _for_grammar(self, tools: Sequence[Tool]) -> Sequence[Tool]:
        if not self._facts.is_llama_cpp:
            return tools
        return [replace(tool, schema=msgspec.Raw(msgspec.json.encode(_grammar_of(tool)))) for tool in tools]

    # What is asked of the answer.

    def _sampling(self) -> dict[str, Any]:
        asked = self._conversation
        top_k = asked.top_k if self._facts.takes_top_k else None
        return _present(temperature=asked.temperature, top_p=asked.top_p, top_k=top_k)

    def _stop(self) -> dict[str, Any]:
        stop = self._stop_sequences()
        return _present(stop=stop[: self._facts.max_stop_sequences] or None)

    def _stop_sequences(self) -> Sequence[str]:
        """Those that can end the answer: the text of a call is nobody's to cut."""
        return () if self._called else self._conversation.stop_sequences or ()

    def _enforces(self, stop: Sequence[str]) -> bool:
        """More than the upstream takes are all looked for here: so the one that comes first wins."""
        limit = self._facts.max_stop_sequences
        return limit is not None and len(stop) > limit

    def _effort(self) -> dict[str, Any]:
        asked, thinking = self._conversation.output_config, self._conversation.thinking
        effort: str | None = asked.effort if asked else None
        if effort is None and thinking is not None and thinking.type == "enabled":
            effort = _effort_of(thinking.budget_tokens or 0)
        if effort in {"xhigh", "max"}:
            effort = "xhigh" if self._facts.is_openai else "high"
        body = _present(reasoning_effort=effort)
        if self._facts.is_llama_cpp:
            thinks = _thinking(thinking) is not Thinking.DROPPED and not self._called and not self._is_held
            body["chat_template_kwargs"] = {"enable_thinking": thinks}
        return body

    def _form(self) -> dict[str, Any]:
        """The schema that the answer has to keep: one that was asked for, or that of a call that is forced."""
        if self._is_held:
            return {"grammar": self._grammar(), "reasoning_format": "none"}
        if self._called:
            chars = self._max_tokens * _CHARS_A_TOKEN
            grammar = {tool.name: bounded(_grammar_of(tool), chars) for tool in self._called}
            return _json_schema("call", call_schema(self._called, grammar), strict=True)
        return {} if self._output is None else self._json_output(self._output)

    def _grammar(self) -> str:
        if not self._called:
            assert self._output is not None, "an answer that is held is a call or has a form"
            return grammar_of_answer(PlacedSchema(_OUTPUT_PLACE, read_schema(self._output.schema, _OUTPUT_PLACE)))
        schemas = {tool.name: PlacedSchema(tool.schema_place, schema_of(tool)) for tool in self._called}
        return grammar_of_call(schemas, self._max_tokens)

    @property
    def _schema_place(self) -> str:
        """Of the schema that the answer is held to, or of those."""
        if not self._called:
            return _OUTPUT_PLACE
        return self._called[0].schema_place if len(self._called) == 1 else "tools"

    def _json_output(self, form: OutputFormat) -> dict[str, Any]:
        schema = read_schema(form.schema, _OUTPUT_PLACE)
        if self._facts.is_llama_cpp:
            schema = for_grammar(schema, _OUTPUT_PLACE)
        return _json_schema("output", schema, strict=is_strict(schema))

    def _user(self) -> dict[str, Any]:
        """A stable name for the client's user: what it calls the user itself is nobody else's business, and long."""
        metadata = self._conversation.metadata
        if metadata is None or not metadata.user_id:
            return {}
        return {"user": hashlib.sha256(metadata.user_id.encode()).hexdigest()[:32]}

    def _limit(self) -> dict[str, Any]:
        """0 asks to warm the cache; no upstream generates nothing."""
        limit = min(max(1, self._max_tokens), _MOST_TOKENS)
        if self._facts.max_output is not None:
            limit = min(limit, self._facts.max_output)
        return {"max_completion_tokens" if self._facts.is_openai else "max_tokens": limit}

    def _streaming(self) -> dict[str, Any]:
        body: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        return body | ({"return_progress": True, "verbose": True} if self._facts.is_llama_cpp else {})


def _check_offered(conversation: Conversation) -> None:
    for name, problem in _REFUSED.items():
        if getattr(conversation, name):
            raise InvalidRequest(f"{name}: {problem}")


def _thinking(asked: ThinkingParam | None) -> Thinking:
    if asked is None or asked.type == "disabled":
        return Thinking.DROPPED
    return Thinking.OMITTED if asked.display == "omitted" else Thinking.SHOWN


def _output_format(asked: Conversation) -> OutputFormat | None:
    return (asked.output_config.format if asked.output_config else None) or asked.output_format


def _effort_of(budget_tokens: int) -> str:
    if budget_tokens < _LOW_BUDGET:
        return "low"
    return "medium" if budget_tokens < _MEDIUM_BUDGET else "high"


def _grammar_of(tool: Tool) -> Any:
    """Its schema as a grammar is made of it. Raises `InvalidRequest` for one that nothing satisfies."""
    return for_grammar(schema_of(tool), tool.schema_place)


def _json_schema(name: str, schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    form = {"name": name, "schema": schema} | ({"strict": True} if strict else {})
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
