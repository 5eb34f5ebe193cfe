"""/v1/models, in the Anthropic shape or in OpenAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from ezai.errors import InvalidRequest, NotFound
from ezai.ports import Prices

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
_PICOUSD_PER_TOKEN = 1_000_000
"""In one USD per million tokens."""
_UNKNOWN_DATE = "1970-01-01T00:00:00Z"  # what the hosted API gives where it knows none


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that clients are shown. Prices are USD per million tokens; None where none is known.

    `target` is the upstream that is asked first, and what the model is called there: what its price is known by.
    """

    id: str
    display_name: str
    context_tokens: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    target: tuple[str, str] | None = None


def wants_anthropic_shape(anthropic_version: str | None, x_api_key: str | None, user_agent: str | None) -> bool:
    """Whether the caller speaks Anthropic.

    Claude Code's discovery sends the version and a bearer token but no x-api-key, so that one alone will not do.
    """
    agent = user_agent or ""
    return anthropic_version is not None or x_api_key is not None or agent.startswith(("claude-code/", "Anthropic"))


async def priced(models: Sequence[ListedModel], prices: Prices) -> list[ListedModel]:
    """The models with what they cost now. A dearer price for long prompts is not told."""
    found = []
    for model in models:
        tariff = None if model.target is None else await prices.find(*model.target)
        if tariff is not None:
            input_price = tariff.base.input_picousd / _PICOUSD_PER_TOKEN
            output_price = tariff.base.output_picousd / _PICOUSD_PER_TOKEN
            model = replace(model, input_price=input_price, output_price=output_price)  # noqa: PLW2901
        found.append(model)
    return found


def find_model(models: Sequence[ListedModel], model_id: str) -> ListedModel:
    """The listed model of that id. Raises `NotFound` in the words that clients parse."""
    for model in models:
        if model.id == model_id:
            return model
    raise NotFound(f"model: {model_id}")


def anthropic_page(models: Sequence[ListedModel], query: bytes) -> dict[str, Any]:
    """One page of the list by `limit`, `after_id` and `before_id`. Raises `InvalidRequest` for a bad one."""
    values = {name: found[-1] for name, found in parse_qs(query.decode("latin-1")).items()}
    limit = _limit(values.get("limit"))
    if before_id := values.get("before_id"):
        earlier = models[: _place(models, "before_id", before_id)]
        page, has_more = earlier[-limit:], len(earlier) > limit
    else:
        after_id = values.get("after_id")
        later = models[_place(models, "after_id", after_id) + 1 :] if after_id else models
        page, has_more = later[:limit], len(later) > limit
    return {
        "data": [anthropic_model(model) for model in page],
        "has_more": has_more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def anthropic_model(model: ListedModel) -> dict[str, Any]:
    """One model in the Anthropic shape; `price` is ours."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": _UNKNOWN_DATE,
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.context_tokens,
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
        "price": _price(model),
    }


def openai_list(models: Sequence[ListedModel]) -> dict[str, Any]:
    """The whole list in OpenAI's shape, which knows no paging."""
    return {"object": "list", "data": [openai_model(model) for model in models]}


def openai_model(model: ListedModel) -> dict[str, Any]:
    """One model in OpenAI's shape; `price` is ours."""
    return {"id": model.id, "object": "model", "created": 0, "owned_by": "ezai", "price": _price(model)}


def _price(model: ListedModel) -> dict[str, float] | None:
    if model.input_price is None or model.output_price is None:
        return None
    return {"input": model.input_price, "output": model.output_price}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidRequest(f"limit: must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def _place(models: Sequence[ListedModel], name: str, model_id: str) -> int:
    for place, model in enumerate(models):
        if model.id == model_id:
            return place
    raise InvalidRequest(f"{name}: there is no model {model_id!r}")
