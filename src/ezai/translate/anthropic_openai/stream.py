"""Chunks of a chat completion to Messages events.

A delta's parts go, each in its turn, through what holds some of it back (think tags, stop sequences, calls that wait
for others) to the blocks, where the events are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ezai.errors import UpstreamTruncated
from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.answers import blank_message, final_usage
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.protocol.end import UsageSource
from ezai.protocol.event import Event
from ezai.protocol.openai import chunks
from ezai.protocol.openai.chunks import (
    CallFragment,
    ChatChunk,
    ChatDelta,
    ChatEvent,
    Choice,
    ContentPart,
    HalvedChunk,
    read_chunk,
)
from ezai.protocol.openai.errors import ErrorObject, as_object, tells_unread_answer
from ezai.protocol.openai.halves import Halves
from ezai.protocol.usage import Usage
from ezai.translate.anthropic_openai.bare_calls import BareCalls
from ezai.translate.anthropic_openai.blocks import AnswerBlocks
from ezai.translate.anthropic_openai.called import CalledInText
from ezai.translate.anthropic_openai.calls import ToolCalls
from ezai.translate.anthropic_openai.held import HeldText
from ezai.translate.anthropic_openai.reasoning import ThinkTags, reasoning_of
from ezai.translate.anthropic_openai.stops import StopSequences
from ezai.translate.anthropic_openai.tally import Tally
from ezai.translate.refusals import in_stream_refusal
from ezai.translate.signatures import CONTENT_PART, THINK_TAG
from ezai.translate.terms import AnswerTerms, Thinking

_CUT = frozenset({"length", "content_filter"})
"""The finish reasons after which a call may be left in the middle, as the hosted API leaves it."""
_FAILED = frozenset({"abort", "error"})
"""The finish reasons of an answer that is none: vLLM's, and OpenRouter's where it does not say more."""


class MessagesFromChat:
    """One Chat Completions stream as Messages events; legal by construction, checked again by the pipeline."""

    feed_plain = None

    def __init__(self, message_id: str, model: str, terms: AnswerTerms, credentials: Sequence[str] = ()) -> None:
        self.told_end = False
        self.cut_short = False
        self._message_id = message_id
        self._model = model
        self._credentials = credentials
        self._may_end_unread = terms.may_end_unread
        self._silent = terms.max_tokens == 0
        if self._silent:
            terms = replace(terms, stop_sequences=(), called_in_text=(), bare_calls=False)
        self._drops_thinking = terms.thinking is Thinking.DROPPED
        self._tally = Tally(terms.prompt_tokens)
        self._blocks = AnswerBlocks(terms)
        self._calls = ToolCalls(self._blocks, message_id, terms)
        self._tags: ThinkTags | None = None if terms.mark else ThinkTags()
        self._held = HeldText(terms.mark, terms.schema_place) if terms.mark and not self._silent else None
        self._stops = StopSequences(terms.stop_sequences) if terms.stop_sequences else None
        self._called = CalledInText(terms.called_in_text, self._calls) if terms.called_in_text else None
        self._bare: BareCalls | None = None
        if terms.bare_calls and terms.offered:
            self._bare = BareCalls(terms.offered, self._calls, self._say, once=terms.calls_once)
        self._halves = Halves()
        self._started = False
        self._reasoned_in_field = False
        self._refusal: list[str] = []
        self._finish_reason: str | None = None
        self._named_stop: str | None = None
        self._over = False

    @property
    def usage(self) -> Usage:
        return self._tally.usage

    @property
    def usage_source(self) -> UsageSource:
        return self._tally.source

    def read(self, frame: bytes) -> ChatEvent:
        return read_chunk(frame)

    def feed(self, event: Event[Any]) -> Sequence[MessagesEvent]:
        if self._over:
            return ()
        if event.kind == chunks.CHUNK:
            self._chunk(event.fields)
        elif event.kind == chunks.DONE:
            self._done()
        elif event.kind == chunks.ERROR:
            self._failed(as_object(event.fields.error))
        return self._take()

    def close(self) -> Sequence[MessagesEvent]:
        if not self._over:
            if self._finish_reason is None:
                raise UpstreamTruncated("The upstream's stream ended before it told why it finished.")
            self._end()  # only `[DONE]` is missing: the answer is whole
        return self._take()

    def _failed(self, error: ErrorObject) -> None:
        """An answer whose end the upstream could not read ends there: what the model said is not to be lost."""
        if not (self._may_end_unread and self._blocks.begun and tells_unread_answer(error)):
            raise in_stream_refusal(error, self._model, self._credentials)
        self._end()

    def _done(self) -> None:
        if not self._started:
            raise UpstreamTruncated("The upstream ended its stream before it had said anything.")
        self._end()

    def _take(self) -> Sequence[MessagesEvent]:
        """What can be told. An answer that has to be held is not begun before it is known that it is."""
        if self._held is not None and not self._held.begun and not self._over:
            return ()
        out, self._blocks.out = self._blocks.out, []
        return out

    # What a chunk holds.

    def _chunk(self, chunk: ChatChunk) -> None:
        if type(chunk) is HalvedChunk or self._halves.waiting:
            chunk = self._halves.joined(chunk)
        if chunk.usage is not None:
            self._tally.report(chunk.usage)
        if not self._started:
            self._start_message(chunk)
        if chunk.choices:
            choice = chunk.choices[0]
            if (delta := choice.delta or choice.message) is not None:
                self._delta(delta)
            if choice.finish_reason and not self._over:
                self._finish(choice, chunk)

    def _delta(self, delta: ChatDelta) -> None:
        reasoning, field = reasoning_of(delta)
        if reasoning:
            self._tally.count_thinking(reasoning)
            self._reasoned_in_field = True
            self._thinking(reasoning, field)
        if isinstance(delta.content, str):
            self._content(delta.content)
        elif delta.content:
            self._parts(delta.content)
        if delta.refusal:
            self._refuse(delta.refusal)
        for fragment in delta.tool_calls or ():
            self._fragment(fragment)
        if delta.function_call:
            self._fragment(CallFragment(function=delta.function_call))

    def _parts(self, content: Sequence[ContentPart]) -> None:
        for part in content:
            if thinking := part.thinking_text():
                self._tally.count_thinking(thinking)
                if not self._reasoned_in_field:
                    self._thinking(thinking, CONTENT_PART)
            if part.text:
                self._content(part.text)

    def _content(self, content: str) -> None:
        if not content:
            return
        if self._tags is None:  # hot: nearly every delta
            self._tally.count(content)
            self._text(content)
            return
        tags = self._tags
        thinking, text = tags.feed(content)
        (self._tally.count_thinking if thinking else self._tally.count)(content)
        self._tags = None if tags.passed else tags
        self._parted(thinking, text)

    def _refuse(self, text: str) -> None:
        """A refusal is text, and not the model's: no stop sequence is looked for in it."""
        self._settle_text()
        if not self._over:
            self._tally.count(text)
            self._refusal.append(text)
            self._say(text)

    def _fragment(self, fragment: CallFragment) -> None:
        self._settle_text()
        if self._over:
            return
        if fragment.function is not None:
            self._tally.count(fragment.function.arguments_text())
        if not self._silent:
            self._calls.fragment(fragment)

    def _finish(self, choice: Choice, chunk: ChatChunk) -> None:
        """Remember why; usage may still follow on a chunk of its own."""
        if choice.finish_reason in _FAILED:
            raise UpstreamTruncated("The upstream gave its answer up.")
        self._finish_reason = choice.finish_reason
        self.told_end = True
        if isinstance(choice.stop_reason, str):
            self._named_stop = choice.stop_reason
        elif chunk.verbose is not None and chunk.verbose.stopping_word:
            self._named_stop = chunk.verbose.stopping_word
        self._finish_content()

    # What is held back, and what is passed on.

    def _parted(self, thinking: str, text: str) -> None:
        """Content that thinking was taken out of. A server that tells it in a field as well has told it before."""
        if thinking and not self._reasoned_in_field:
            self._thinking(thinking, THINK_TAG)
        if text:
            self._text(text)

    def _text(self, text: str) -> None:
        if self._held is not None:
            text = self._held.feed(text)
        if self._called is not None:
            self._called.feed(text)
        elif self._bare is not None:
            self._with_calls(self._bare, text)
        elif self._stops is not None:
            self._stoppable(self._stops, text)
        else:
            self._say(text)

    def _stoppable(self, stops: StopSequences, text: str) -> None:
        if stops.matched is None:
            self._say(stops.feed(text))
            self._end_if_stopped()

    def _with_calls(self, bare: BareCalls, text: str) -> None:
        bare.feed(text)
        if bare.over and not self._over and self._finish_reason is None:
            self.cut_short = True
            self._end()

    def _thinking(self, thinking: str, field: str) -> None:
        if self._drops_thinking or self._silent:
            return
        self._settle_stops()
        if self._stop_sequence is not None:
            return
        if self._calls.queue:
            self._calls.queue.append(partial(self._blocks.thinking, thinking, field))
        else:
            self._blocks.thinking(thinking, field)

    def _say(self, text: str) -> None:
        if not text or self._silent:
            return
        if self._calls.queue:
            self._calls.queue.append(partial(self._blocks.text, text))
        else:
            self._blocks.text(text)

    def _settle_text(self) -> None:
        """Something other than text comes: what was held back of the text is not what it might have been."""
        if self._tags is not None:
            held, self._tags = self._tags.end(), None
            self._parted(*held)
        self._settle_stops()

    def _settle_stops(self) -> None:
        """The same of what was neither a call nor a stop sequence."""
        if self._bare is not None:
            self._bare.end()
        if self._stops is not None and self._stops.matched is None:
            self._say(self._stops.end())
            self._end_if_stopped()

    def _finish_content(self) -> None:
        if self._held is not None:
            self._held.end(cut=self._is_cut)
        self._settle_text()
        if self._called is not None:
            self._called.end(cut=self._is_cut)
        self._calls.end(cut=self._is_cut)
        self._blocks.finish()

    # What is emitted beside the blocks.

    def _start_message(self, chunk: ChatChunk) -> None:
        self._started = True
        self._tally.begin(chunk.prompt_progress)
        self._out(events.message_start(blank_message(self._message_id, self._model, self._tally.usage)))

    def _end_if_stopped(self) -> None:
        """At a stop sequence the message ends at once, unless the upstream has ended it: then its usage may follow."""
        if self._stop_sequence is not None and self._finish_reason is None and not self._over:
            self.cut_short = True
            self._end()

    def _end(self) -> None:
        self._over = True
        if not self._is_cut:
            self._halves.end()
        if not self._started:
            self._start_message(chunks.ChatChunk())
        self._finish_content()
        self._message_delta(*self._told_stop())
        self._out(events.message_stop())

    def _message_delta(self, stop_reason: str, stop_sequence: str | None) -> None:
        details = None
        if stop_reason == "refusal":
            details = {"type": "refusal", "category": None, "explanation": "".join(self._refusal) or None}
        self._out(events.message_delta(stop_reason, stop_sequence, final_usage(self._tally.usage), details))

    def _told_stop(self) -> tuple[str, str | None]:
        """Why the message ended, and the stop sequence where that was it. An unknown reason ended the turn."""
        if self._stop_sequence is not None:
            return "stop_sequence", self._stop_sequence
        if self._refusal or self._finish_reason == "content_filter":
            return "refusal", None
        if self._finish_reason == "length":
            return "max_tokens", None
        if self._calls.told:
            return "tool_use", None
        if self._named_stop is not None:
            return "stop_sequence", self._named_stop
        return "end_turn", None

    @property
    def _is_cut(self) -> bool:
        """Whether what came last may be in the middle of something."""
        return self.cut_short or self._finish_reason in _CUT

    @property
    def _stop_sequence(self) -> str | None:
        return self._stops.matched if self._stops is not None else None

    def _out(self, event: MessagesEvent) -> None:
        self._blocks.out.append(event)
