"""Tools and schemas on the embedded model, whose template knows no tools: a forced call is always one, and valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import anthropic
import msgspec
import pytest

from tests.gateway_process import GatewayProcess, running_gateway
from tests.models.retemplated import BARE_CALLS, MARKED_CALLS, retemplate
from tests.sdk.test_held_answers import TOKENS, ended

MODEL = "claude-embedded"


class Weather(msgspec.Struct, forbid_unknown_fields=True):
    """What the schema of the tool below allows."""

    city: str
    days: Annotated[int, msgspec.Meta(ge=1, le=5)]
    unit: Literal["C", "F"] = "C"


class Search(msgspec.Struct):
    """The same of the other one."""

    query: str
    tags: list[str] = []


WEATHER = {
    "name": "get_weather",
    "description": "Tell the weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 5},
            "unit": {"type": "string", "enum": ["C", "F"]},
        },
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
SEARCH = {
    "name": "search",
    "description": "Search the web",
    "input_schema": {  # with what Claude Code's schemas hold, and a grammar does not
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "pattern": "[a-z]"},
            "tags": {"type": "array", "items": {"type": "string", "format": "hostname"}, "maxItems": 2},
        },
        "required": ["query"],
    },
}
TYPES: dict[str, type] = {"get_weather": Weather, "search": Search}
LOOP: list[Any] = [
    {"role": "user", "content": "What is the weather in Paris?"},
    {"role": "assistant", "content": [
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris", "days": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Sunny, 21 C."}]},
]  # fmt: skip
PROMPTS = ["What is the weather in Paris?", "Write a poem about the sea.", "{}"]


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="any") as made:
        yield made


def asked(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": TOKENS, "messages": [{"role": "user", "content": prompt}], **fields}


def the_call(message: anthropic.types.Message) -> tuple[str, Any]:
    """The one block, which is a call; its input is what its schema allows."""
    assert message.stop_reason == "tool_use"
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.id.startswith("toolu_")
    return block.name, msgspec.convert(block.input, TYPES[block.name])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_named_tool_is_called_with_valid_input(client: anthropic.Anthropic, prompt: str) -> None:
    choice = {"type": "tool", "name": "get_weather"}
    with client.messages.stream(**asked(prompt, tools=[WEATHER, SEARCH], tool_choice=choice)) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        name, given = the_call(stream.get_final_message())
    assert name == "get_weather"
    assert msgspec.json.decode("".join(pieces), type=Weather) == given
    assert len(pieces) > 3, "it streams"


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("tools", [[WEATHER, SEARCH], [SEARCH]], ids=["of two", "of one"])
def test_any_tool_is_called_with_valid_input(client: anthropic.Anthropic, prompt: str, tools: list[Any]) -> None:
    message = ended(lambda: client.messages.create(**asked(prompt, tools=tools, tool_choice={"type": "any"})))
    name, _ = the_call(message)
    assert name in {tool["name"] for tool in tools}


def test_where_no_call_is_forced_it_answers_in_text(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**asked(PROMPTS[0], tools=[WEATHER], max_tokens=20))
    assert [block.type for block in message.content] == ["text"]


def test_a_conversation_with_calls_goes_on(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**asked("", messages=LOOP, tools=[WEATHER], max_tokens=20))
    assert [block.type for block in message.content] == ["text"]


def test_an_answer_keeps_its_schema(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": WEATHER["input_schema"]["properties"], "required": ["city", "days"]}  # type: ignore[index]
    form = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    message = ended(lambda: client.messages.create(**asked(PROMPTS[0], output_config=form)))
    (block,) = message.content
    assert block.type == "text"
    msgspec.json.decode(block.text, type=Weather)


def test_item_74_a_prompt_that_does_not_fit_says_by_how_much(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+ maximum"):
        client.messages.create(**asked("hello " * 20_000))


def test_an_image_is_refused_by_its_place(client: anthropic.Anthropic) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.content\.0: "):
        client.messages.create(**asked("", messages=[{"role": "user", "content": [image]}]))


# Models whose templates have tools.


@pytest.fixture(scope="module", params=[BARE_CALLS, MARKED_CALLS], ids=["bare", "marked"])
def tool_model(
    request: pytest.FixtureRequest, embedded_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[anthropic.Anthropic]:
    """The same model as a file with another template; it is no better at calling, but it is offered tools."""
    folder = tmp_path_factory.mktemp("tool-model")
    retemplate(embedded_model, folder / "with-tools.gguf", request.param)
    config = folder / "ezai.toml"
    config.write_text(
        f'[[upstreams]]\nname = "local"\nkind = "embedded"\nmodel = "{folder}/with-tools.gguf"\n', "utf-8"
    )
    with running_gateway(config) as running, anthropic.Anthropic(base_url=running.url, api_key="any") as made:
        yield made


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_call_is_forced_whatever_the_template_knows(tool_model: anthropic.Anthropic, choice: Any) -> None:
    message = tool_model.messages.create(**asked(PROMPTS[0], tools=[WEATHER], tool_choice=choice))
    assert the_call(message)[0] == "get_weather"


def test_tools_of_the_template_are_in_the_prompt(tool_model: anthropic.Anthropic) -> None:
    def prompt_tokens(**fields: Any) -> int:
        return tool_model.messages.count_tokens(model=MODEL, messages=LOOP, **fields).input_tokens

    assert prompt_tokens(tools=[WEATHER, SEARCH]) > prompt_tokens(tools=[WEATHER]) > prompt_tokens()
    answer = tool_model.messages.create(**asked("", messages=LOOP, tools=[WEATHER], max_tokens=8))
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) == prompt_tokens(tools=[WEATHER])


def test_no_answer_is_an_error_because_of_how_it_reads(tool_model: anthropic.Anthropic) -> None:
    """llama.cpp takes a brace in text for a call and fails at its end: every fourth of these answers was an error."""
    quick = tool_model.with_options(max_retries=0)
    request = asked("", messages=LOOP, tools=[WEATHER], max_tokens=8)
    for _ in range(30):
        assert quick.messages.create(**request).stop_reason in {"max_tokens", "end_turn", "tool_use"}
        with quick.messages.stream(**request) as stream:
            assert stream.get_final_message().stop_reason in {"max_tokens", "end_turn", "tool_use"}


def test_no_request_can_make_the_model_take_all_memory(gateway: GatewayProcess) -> None:
    """What llama.cpp makes of a request is not ours to know: the kernel bounds it."""
    limits = Path(f"/proc/{gateway.embedded_child_pid()}/limits").read_text()
    (address_space,) = (line for line in limits.splitlines() if line.startswith("Max address space"))
    assert "unlimited" not in address_space
