"""Turns: a question, its answer as it streams, Ctrl-C in between."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ezai.cli.chat.answer import Answer
from ezai.cli.chat.displays import Display
from ezai.cli.chat.gateway import Model, open_answer
from ezai.errors import EzaiError
from ezai.upstreams.http import HttpClient

STOPPED = 130
"""The exit status of a program that Ctrl-C ended."""


@dataclass
class Conversation:
    """What was said with one model of one gateway. An answer that broke off is part of it, as far as it went."""

    runner: asyncio.Runner
    client: HttpClient
    model: Model
    display: Display
    messages: list[dict[str, str]] = field(default_factory=list)

    def converse(self) -> int:
        """Ask and answer until the end of input, or Ctrl-C at the prompt."""
        self.display.tell(f"Talking to {self.model.id}. Ctrl-C stops an answer; at the prompt it leaves, as Ctrl-D.")
        while (prompt := _prompt()) is not None:
            if prompt:
                self.turn(prompt)
        return 0

    def turn(self, prompt: str) -> int:
        """One question and its answer. Returns 0, 1 when it was refused or broke off, 130 when it was stopped."""
        self.messages.append({"role": "user", "content": prompt})
        answer = Answer(self.model.price)
        status = 0
        self.display.begin(answer)
        try:
            self.runner.run(self._stream(answer))
        except KeyboardInterrupt:
            status, answer.ended_by = STOPPED, "you stopped it"
        except EzaiError as error:
            status, answer.ended_by = 1, f"the answer broke off: {error}" if answer.first_at is not None else str(error)
        finally:
            self.display.end()
        self._remember(answer)
        return status

    async def _stream(self, answer: Answer) -> None:
        with _ticking(self.display):
            async with open_answer(self.client, self.model.id, self.messages) as events:
                async for event in events:
                    if (piece := answer.take(event)) is not None:
                        self.display.add(piece)

    def _remember(self, answer: Answer) -> None:
        """Keep the turn, unless nothing was said: no message may be empty."""
        if answer.text.strip():
            self.messages.append({"role": "assistant", "content": answer.text})
        else:
            self.messages.pop()


def _prompt() -> str | None:
    """The next line, stripped; None at the end of input."""
    try:
        return input("> ").strip()
    except EOFError:
        sys.stdout.write("\n")
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    return None


@contextmanager
def _ticking(display: Display) -> Iterator[None]:
    """Let the display follow the time while the block runs; it is drawn in the block's own task's loop."""
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.TimerHandle] = []

    def tick() -> None:
        display.refresh()
        waiting[:] = [loop.call_later(display.refresh_s, tick)]

    tick()
    try:
        yield
    finally:
        waiting[0].cancel()
