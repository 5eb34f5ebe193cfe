"""What an answer uses: as the upstream tells it, and counted until it does."""

from __future__ import annotations

import msgspec

from ezai.protocol.end import UsageSource
from ezai.protocol.openai.chunks import ChatUsage, PromptProgress
from ezai.protocol.usage import Usage

LONGEST_TOKEN_CHARS = 32
CHARS_PER_TOKEN = 4


class Tally:
    """Usage of one answer. A piece of it is taken for a token: right for most servers, which send one in each."""

    __slots__ = ("_has_begun", "_pieces", "_thinking", "_thinking_is_told", "_told", "_told_source")

    def __init__(self, prompt_tokens: int) -> None:
        self._told = Usage(input_tokens=prompt_tokens)
        self._told_source: UsageSource | None = None
        self._thinking_is_told = False
        self._has_begun = False
        self._pieces = 0
        self._thinking = 0

    @property
    def usage(self) -> Usage:
        """So far. Before the answer has begun it used nothing: the prompt may never have been read."""
        if not self._has_begun:
            return Usage()
        usage = self._told
        if self.source is not UsageSource.UPSTREAM:
            usage = msgspec.structs.replace(usage, output_tokens=self._pieces)
        if not self._thinking_is_told:
            usage = msgspec.structs.replace(usage, thinking_tokens=min(self._thinking, usage.output_tokens))
        return usage

    @property
    def source(self) -> UsageSource:
        if self._told_source is UsageSource.UPSTREAM and (self._told.output_tokens or not self._pieces):
            return UsageSource.UPSTREAM  # a total of 0 of what has been seen is none yet
        if self._pieces:
            return UsageSource.ESTIMATED
        if self._told_source is not None:
            return self._told_source
        return UsageSource.ESTIMATED if self._has_begun and self._told.input_tokens else UsageSource.NONE

    def begin(self, progress: PromptProgress | None) -> None:
        """The upstream answers; llama.cpp tells the prompt's size with its first chunk."""
        self._has_begun = True
        if progress is not None:
            cached = min(progress.cache, progress.total)
            self._told = msgspec.structs.replace(
                self._told, input_tokens=progress.total - cached, cache_read_input_tokens=cached
            )
            self._told_source = UsageSource.PARTIAL_UPSTREAM

    def count(self, piece: str) -> None:
        """One more piece of the answer. Longer than any token, it is several."""
        self._pieces += 1 if len(piece) <= LONGEST_TOKEN_CHARS else len(piece) // CHARS_PER_TOKEN

    def count_thinking(self, piece: str) -> None:
        """One more piece, of the model's thinking."""
        before = self._pieces
        self.count(piece)
        self._thinking += self._pieces - before

    def report(self, usage: ChatUsage) -> None:
        """The upstream's own totals, on whichever chunk they stand; the last ones count."""
        report = usage.report()
        self._told = self._told.updated(report)
        details = report.output_tokens_details
        if details is not None and details.thinking_tokens is not None:
            self._thinking_is_told = True
        if report.output_tokens is not None:
            self._told_source = UsageSource.UPSTREAM
        elif report.input_tokens is not None and self._told_source is None:
            self._told_source = UsageSource.PARTIAL_UPSTREAM
