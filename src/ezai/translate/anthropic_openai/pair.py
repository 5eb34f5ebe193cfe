"""The pair for one target."""

from __future__ import annotations

import re

import msgspec

from ezai.errors import RequestError
from ezai.protocol.anthropic.requests import MessagesRequest
from ezai.protocol.members import without
from ezai.translate.anthropic_openai.limits import check_limits
from ezai.translate.anthropic_openai.request import ChatRequest
from ezai.translate.anthropic_openai.stream import MessagesFromChat
from ezai.translate.base import Headers, UpstreamFacts, UpstreamRequest
from ezai.translate.credentials import fields_without
from ezai.translate.crossing import to_client
from ezai.translate.refusals import chat_refusal
from ezai.translate.terms import AnswerTerms

_JSON = ((b"content-type", b"application/json"),)
_encode = msgspec.json.Encoder().encode
_about_schemas = re.compile(r"JSON schema|(?:parse|generate) (?:grammar|parser)").search
"""llama.cpp's words on a schema, which say nothing of where it came from."""


class AnthropicToOpenAI:
    """The pair for one target: `model` as the upstream calls it."""

    def __init__(self, model: str, facts: UpstreamFacts, client_headers: Headers = ()) -> None:
        self._model = model
        self._facts = facts
        self._interleaves = any(
            name == b"anthropic-beta" and b"interleaved-thinking" in value for name, value in client_headers
        )

    def rewrites(self, request: MessagesRequest) -> bool:
        return True

    def request(self, request: MessagesRequest) -> UpstreamRequest:
        asked = self._asked(request)
        body = _encode(asked.body)
        for path in self._facts.strip_fields:
            body = without(body, path)
        return UpstreamRequest("POST", "/chat/completions", _JSON, body, asked.terms)

    def count_request(self, request: MessagesRequest) -> UpstreamRequest:
        return UpstreamRequest("POST", "/chat/completions/input_tokens", _JSON, _encode(self._asked(request).prompt))

    def estimate_tokens(self, request: MessagesRequest) -> int:
        return self._asked(request).terms.prompt_tokens

    def _asked(self, request: MessagesRequest) -> ChatRequest:
        conversation = request.conversation()
        check_limits(conversation, request.max_tokens, interleaves=self._interleaves)
        return ChatRequest(conversation, self._model, request.max_tokens, self._facts)

    def stream(self, message_id: str, request: MessagesRequest, terms: AnswerTerms) -> MessagesFromChat:
        return MessagesFromChat(message_id, request.model, terms, self._facts.credentials)

    def answer_headers(self, headers: Headers) -> Headers:
        spoken = fields_without(headers, self._facts.credentials)
        return to_client([(b"request-id", value) for name, value in spoken if name == b"x-request-id"])

    def refusal(self, status: int, headers: Headers, body: bytes, requested_model: str) -> RequestError:
        refusal = chat_refusal(status, headers, body, requested_model, self._facts.credentials)
        if self._facts.is_llama_cpp and _about_schemas(refusal.message):
            refusal.message = f"tools: {refusal.message}"
        return refusal
