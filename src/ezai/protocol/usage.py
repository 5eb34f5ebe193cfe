"""Token usage in the terms of the Messages API, and the rules by which a stream's reports merge.

`input_tokens` excludes what was read from or written to the prompt cache: the whole prompt is
`input_tokens + cache_read_input_tokens + cache_creation_input_tokens`. `output_tokens` includes thinking.
Source: reference of the Messages API, "Response Message" and "Exact payloads".
"""

from __future__ import annotations

from typing import TypeGuard

import msgspec

MAX_COUNT = 1_000_000_000
"""No count is larger, whatever an upstream says: a thousand times the largest context there is."""


class UsageReport(msgspec.Struct, frozen=True):
    """Usage as one event or body reports it; None is "not reported here". Other fields are ignored."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None
    cache_creation: CacheCreation | None = None


class OutputDetails(msgspec.Struct, frozen=True):
    """The part of `output_tokens` that was thinking."""

    thinking_tokens: int | None = None


class CacheCreation(msgspec.Struct, frozen=True):
    """The part of `cache_creation_input_tokens` that was written for an hour, which has a price of its own."""

    ephemeral_1h_input_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """What an answer used, so far or in all. Every count is zero or more."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt, cached or not."""
        return self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens

    def updated(self, report: UsageReport | None) -> Usage:
        """This usage after one more report.

        Reports are cumulative totals that overwrite; what a report leaves out, or sends as null, keeps its value
        (both SDKs' accumulators do the same). So is what is no count (`is_count`).
        """
        if report is None:
            return self
        details, creation = report.output_tokens_details, report.cache_creation
        reported = {
            "input_tokens": report.input_tokens,
            "cache_creation_input_tokens": report.cache_creation_input_tokens,
            "cache_read_input_tokens": report.cache_read_input_tokens,
            "output_tokens": report.output_tokens,
            "thinking_tokens": details.thinking_tokens if details else None,
            "cache_creation_1h_input_tokens": creation.ephemeral_1h_input_tokens if creation else None,
        }
        counts = {name: count for name, count in reported.items() if count is not None and 0 <= count <= MAX_COUNT}
        return msgspec.structs.replace(self, **counts)


def is_count(value: int | None) -> TypeGuard[int]:
    """Whether it is a number of tokens that an answer can have."""
    return value is not None and 0 <= value <= MAX_COUNT
