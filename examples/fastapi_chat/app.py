"""A chat in the browser, with a server of yours between the page and EzAI: FastAPI and the official SDK.

POST /chat streams the answer to `fetch`, GET /chat?prompt=... to `EventSource`; docs/web-apps.md explains the pattern.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Literal, cast

import uvicorn
from anthropic import APIError, AsyncAnthropic
from anthropic.types import MessageParam
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

MODEL = os.environ.get("EZAI_MODEL", "claude-sonnet-5-5")
MAX_TOKENS = 4096

client = AsyncAnthropic(
    base_url=os.environ.get("EZAI_URL", "http://127.0.0.1:8080"),
    api_key=os.environ.get("EZAI_API_KEY") or "any",  # a gateway without keys takes any
)
log = logging.getLogger("chat")


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str = Field(min_length=1)


class Chat(BaseModel):
    messages: list[Message] = Field(min_length=1)


def same_site(request: Request) -> None:
    """Other people's pages may not spend your tokens in a visitor's browser."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise HTTPException(403, "This is for the page of this server.")


app = FastAPI()
Prompt = Annotated[str, Query(min_length=1)]


@app.post("/chat", dependencies=[Depends(same_site)])
async def post_chat(chat: Chat) -> Response:
    """For `fetch`: a conversation."""
    return EventStream(answer(chat.messages))


@app.get("/chat", dependencies=[Depends(same_site)])
async def get_chat(request: Request, prompt: Prompt) -> Response:
    """For `EventSource`: one question. It connects again by itself when it is cut off; that is not asked twice."""
    if "last-event-id" in request.headers:
        return Response(status_code=204)  # makes it give up
    return EventStream(answer([Message(role="user", content=prompt)]))


app.mount("/", StaticFiles(directory=Path(__file__).parent / "page", html=True))


async def answer(messages: list[Message]) -> AsyncGenerator[bytes]:
    """The frames of one answer: text, how it ended, [DONE]; or, where it broke off, a failure as the last one."""
    asked = cast("list[MessageParam]", [message.model_dump() for message in messages])
    try:
        async with client.messages.stream(model=MODEL, max_tokens=MAX_TOKENS, messages=asked) as stream:
            async for text in stream.text_stream:
                yield frame(text)
            message = await stream.get_final_message()
        if message.stop_reason is None:  # the SDK takes a stream that just ends for a whole one
            raise EOFError("The answer was cut.")
    except APIError as error:
        yield failure(error)
    except Exception as error:
        log.warning("the answer broke off", exc_info=error)
        yield frame({"cause": type(error).__name__, "message": "The answer broke off."}, "failure")
    else:
        yield frame({"stop_reason": message.stop_reason, "usage": message.usage.model_dump()}, "end")
        yield b"data: [DONE]\n\n"


def frame(value: object, event: str | None = None) -> bytes:
    """One event. JSON keeps newlines in the text from being read as the frame's own."""
    named = f"event: {event}\n" if event else ""
    return f"{named}id: 1\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def failure(error: APIError) -> bytes:
    """Why it broke off. EzAI says the cause of a broken stream in `error.details.error_code`."""
    body = error.body if isinstance(error.body, dict) else {}
    told = body.get("error") or {}
    cause = (told.get("details") or {}).get("error_code") or told.get("type") or type(error).__name__
    return frame({"cause": cause, "message": told.get("message") or error.message}, "failure")


class EventStream(Response):
    """Sends frames, and stops making them as soon as the browser leaves, whether or not there is one to send.

    StreamingResponse does so on some servers; on those that speak ASGI 2.4 or later it sees a browser that left when it
    next sends, and a silent upstream would not be stopped.
    """

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        self.frames = frames
        self.background = None
        self.status_code = 200
        self.body = b""
        self.init_headers(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
            }
        )
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self.send_all(send))
        leaving = asyncio.create_task(left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()  # cancelling ends the SDK's stream, and with it the upstream
            leaving.cancel()
            await asyncio.wait({sending, leaving})
        if not sending.cancelled():
            sending.result()

    async def send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self.frames) as frames:
            async for data in frames:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "3000")))
