"""What a request settles about reading its answer.

Made together with the upstream's request, which may happen in another process; so it is small, and a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Thinking(StrEnum):
    """What becomes of an upstream's reasoning."""

    DROPPED = "dropped"
    """The client did not ask for thinking: it reads the first block for the answer."""
    SHOWN = "shown"
    OMITTED = "omitted"
    """A thinking block comes, with a signature but without its text."""


@dataclass(frozen=True, slots=True)
class AnswerTerms:
    """How the answer to one request is read."""

    thinking: Thinking = Thinking.DROPPED
    tool_names: Mapping[str, str] = field(default_factory=dict)
    """Tools that the upstream knows under another name than the client: its name to the client's."""
    stop_sequences: tuple[str, ...] = ()
    """Enforced here, because the upstream was told only some of them, or none."""
    called_in_text: tuple[str, ...] = ()
    """The answer's text is JSON that calls one of these tools: of one, its input; of several, an object of `name` and
    `input` in this order."""
    mark: str = ""
    """What the answer's text begins with where the upstream holds it to its schema; empty where no such mark comes."""
    schema_place: str = ""
    """Where in the request that schema stands."""
    offered: tuple[str, ...] = ()
    """The tools that the upstream was offered, as it knows them."""
    bare_calls: bool = False
    """JSON objects in the answer's text call them."""
    calls_once: bool = False
    """The first of those calls ends the answer."""
    may_end_unread: bool = False
    """An upstream that fails because it could not read the end of its model's answer has told the answer before."""
    prompt_tokens: int = 0
    """An estimate, until the upstream counts."""
    max_tokens: int = 1
    """As the client asked; 0 asks to warm the cache, and then nothing of an answer is passed on."""
    signing_key: bytes = field(default=b"", repr=False)
    """For the signatures of thinking blocks."""
