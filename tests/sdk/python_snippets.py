"""What a user writes with the Python SDK; only `base_url` is not what it would be for the hosted API.

    python python_snippets.py snippets BASE_URL     every call once; prints one JSON object
    python python_snippets.py keyed BASE_URL        ANTHROPIC_API_KEY, and a wrong key; prints one JSON object
    python python_snippets.py broken BASE_URL       a long stream; prints a line at its first text, then its end
    python python_snippets.py asked BASE_URL        the requests in $ASKED, a JSON object; prints one JSON object

Runs on the newest SDK and on 0.75 alike, in their own environments: it imports nothing of the gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import anthropic
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam

API_KEY = "sk-your-key"
MODEL = "claude-sonnet-5-5"
MAX_TOKENS = 16
QUESTION: list[MessageParam] = [{"role": "user", "content": "Explain streaming in 3 sentences."}]
COUNTING: list[MessageParam] = [{"role": "user", "content": "Write the numbers from 1 to 5000, separated by commas."}]


def stream(client: Anthropic) -> dict[str, Any]:
    with client.messages.stream(model=MODEL, max_tokens=MAX_TOKENS, messages=QUESTION) as opened:
        texts = list(opened.text_stream)
        final = opened.get_final_message()
    return {"texts": texts, "final": final.to_dict(mode="json"), "request_id": opened.request_id}


def events(client: Anthropic) -> list[dict[str, Any]]:
    opened = client.messages.create(model=MODEL, max_tokens=MAX_TOKENS, messages=QUESTION, stream=True)
    return [event.to_dict(mode="json") for event in opened]


def unary(client: Anthropic) -> dict[str, Any]:
    message = client.messages.create(model=MODEL, max_tokens=MAX_TOKENS, messages=QUESTION)
    return {"final": message.to_dict(mode="json"), "request_id": message._request_id}


async def async_stream(client: AsyncAnthropic) -> dict[str, Any]:
    async with client.messages.stream(model=MODEL, max_tokens=MAX_TOKENS, messages=QUESTION) as opened:
        texts = [text async for text in opened.text_stream]
        final = await opened.get_final_message()
    return {"texts": texts, "final": final.to_dict(mode="json"), "request_id": opened.request_id}


async def async_events(client: AsyncAnthropic) -> list[dict[str, Any]]:
    opened = await client.messages.create(model=MODEL, max_tokens=MAX_TOKENS, messages=QUESTION, stream=True)
    return [event.to_dict(mode="json") async for event in opened]


async def async_unary(client: AsyncAnthropic) -> dict[str, Any]:
    message = await client.messages.create(model=MODEL, max_tokens=MAX_TOKENS, messages=QUESTION)
    return {"final": message.to_dict(mode="json"), "request_id": message._request_id}


def errors(client: Anthropic) -> dict[str, Any]:
    return {
        "unknown_path": refusal(lambda: client.get("/v1/nowhere", cast_to=object)),
        "unknown_model": refusal(lambda: client.models.retrieve("no-such-model")),
        "bad_request": refusal(lambda: client.messages.create(model=MODEL, max_tokens=-1, messages=QUESTION)),
    }


def refusal(call: Callable[[], object]) -> dict[str, Any]:
    """The error that the call raises, as its user sees it."""
    try:
        call()
    except anthropic.APIStatusError as error:
        return told(error)
    raise AssertionError("the call was not refused")


def told(error: anthropic.APIStatusError) -> dict[str, Any]:
    return {
        "class": type(error).__name__,
        "status": error.status_code,
        "request_id": error.request_id,
        "body": error.body,
    }


async def async_calls(url: str) -> dict[str, Any]:
    async with AsyncAnthropic(base_url=url, api_key=API_KEY) as client:
        return {
            "async_stream": await async_stream(client),
            "async_events": await async_events(client),
            "async_unary": await async_unary(client),
        }


def snippets(url: str) -> None:
    with Anthropic(base_url=url, api_key=API_KEY) as client:
        models = [model.id for model in client.models.list()]
        outcome = {
            "version": anthropic.__version__,
            "stream": stream(client),
            "events": events(client),
            "unary": unary(client),
            "count": client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens,
            "models": models,
            "model": client.models.retrieve(models[0]).to_dict(mode="json"),
            "errors": errors(client),
        }
    print(json.dumps(outcome | asyncio.run(async_calls(url))))


def keyed(url: str) -> None:
    with Anthropic(base_url=url) as client:
        right = client.messages.create(model=MODEL, max_tokens=1, messages=QUESTION)
    with Anthropic(base_url=url, api_key="sk-wrong") as client:
        wrong = refusal(lambda: client.messages.create(model=MODEL, max_tokens=1, messages=QUESTION))
    print(json.dumps({"right": right.to_dict(mode="json"), "wrong": wrong}))


def broken(url: str) -> None:
    texts: list[str] = []
    with Anthropic(base_url=url, api_key=API_KEY) as client:
        try:
            with client.messages.stream(
                model=MODEL, max_tokens=4000, messages=COUNTING, extra_body={"temperature": 0}
            ) as opened:
                for text in opened.text_stream:
                    if not texts:
                        print("first text", flush=True)
                    texts.append(text)
        except anthropic.APIStatusError as error:
            print(json.dumps({"texts": texts, "error": told(error)}))


def asked(url: str) -> None:
    """Each request streamed and unary, and counted: the messages, what the stream said on the way, or the errors."""
    with Anthropic(base_url=url, api_key=API_KEY, max_retries=0) as client:
        print(
            json.dumps({name: both_ways(client, request) for name, request in json.loads(os.environ["ASKED"]).items()})
        )


def both_ways(client: Anthropic, given: dict[str, Any]) -> dict[str, Any]:
    plain = {
        "model",
        "max_tokens",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "stop_sequences",
        "metadata",
    }
    request = {name: given[name] for name in plain if name in given}
    request["extra_body"] = {
        name: given[name] for name in given if name not in plain
    }  # what an old SDK has no word for
    said: dict[str, list[str]] = {"text": [], "input_json": [], "thinking": []}
    try:
        with client.messages.stream(**request) as opened:
            for event in opened:
                if event.type == "text":
                    said["text"].append(event.text)
                elif event.type == "input_json":
                    said["input_json"].append(event.partial_json)
                elif event.type == "thinking":
                    said["thinking"].append(event.thinking)
            streamed = opened.get_final_message().to_dict(mode="json")
    except anthropic.APIStatusError as error:
        return {"error": told(error), "unary_error": refusal(lambda: client.messages.create(**request)), **said}
    unary = client.messages.create(**request).to_dict(mode="json")
    uncounted = {"max_tokens", "stop_sequences", "metadata"}
    prompt = {name: value for name, value in request.items() if name not in uncounted}
    return {
        "streamed": streamed,
        "unary": unary,
        "counted": client.messages.count_tokens(**prompt).input_tokens,
        **said,
    }


if __name__ == "__main__":
    {"snippets": snippets, "keyed": keyed, "broken": broken, "asked": asked}[sys.argv[1]](sys.argv[2])
