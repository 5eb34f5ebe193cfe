"""The content blocks of an answer as events: one is open at a time."""

from __future__ import annotations

from ezai.protocol.anthropic import events
from ezai.protocol.anthropic.events import MessagesEvent
from ezai.translate.signatures import sign
from ezai.translate.terms import AnswerTerms, Thinking

TEXT = "text"
THINKING = "thinking"
TOOL_USE = "tool_use"


class AnswerBlocks:
    """Opens blocks as what comes needs them, into `out`; `open` is the type of the open one, empty between blocks.

    Whitespace alone is no text and no thinking: it waits for what follows it, and is dropped before a block of
    another type. The API refuses a conversation with a blank text block in it.
    """

    __slots__ = (
        "_blank",
        "_blank_type",
        "_field",
        "_index",
        "_omits_thinking",
        "_signing_key",
        "_thought",
        "open",
        "out",
    )

    def __init__(self, terms: AnswerTerms) -> None:
        self.out: list[MessagesEvent] = []
        self.open = ""
        self._index = -1
        self._blank = ""
        self._blank_type = ""
        self._signing_key = terms.signing_key
        self._omits_thinking = terms.thinking is Thinking.OMITTED
        self._field = ""
        self._thought: list[str] = []

    @property
    def begun(self) -> bool:
        """Whether the client has got any block."""
        return self._index >= 0

    def text(self, text: str) -> None:
        """More text. Hot: one per token."""
        if self.open != TEXT:
            text = self._after_blank(TEXT, text)
            if not text:
                return
            self._start_text()
        self.out.append(events.text_delta(self._index, text))

    def thinking(self, text: str, field: str) -> None:
        """More thinking, which came in `field` of the upstream's."""
        if self.open != THINKING:
            text = self._after_blank(THINKING, text)
            if not text:
                return
            self._start_thinking(field)
        if not self._omits_thinking:
            self._thought.append(text)
            self.out.append(events.thinking_delta(self._index, text))

    def tool_use(self, tool_id: str, name: str) -> None:
        """Open the block of a call."""
        self._start(TOOL_USE, {"type": TOOL_USE, "id": tool_id, "name": name, "input": {}})

    def input_json(self, text: str) -> None:
        """More input of the call whose block is open."""
        self.out.append(events.input_json_delta(self._index, text))

    def close(self) -> None:
        """Close the open block, if there is one."""
        if self.open == THINKING:
            self._signature()
        if self.open:
            self.out.append(events.block_stop(self._index))
            self.open = ""

    def finish(self) -> None:
        """Nothing more comes. An answer that is nothing but whitespace is that."""
        if self._index < 0 and self._blank_type == TEXT and self._blank:
            blank = self._blank
            self._start_text()
            self.out.append(events.text_delta(self._index, blank))
        self.close()

    def _after_blank(self, block_type: str, text: str) -> str:
        """The beginning of a block, with the whitespace that waited; empty while it is nothing else."""
        if self._blank_type == block_type:
            text = self._blank + text
        if text.isspace():
            self._blank, self._blank_type = text, block_type
            return ""
        return text

    def _start_text(self) -> None:
        self._start(TEXT, {"type": TEXT, "text": ""})

    def _start_thinking(self, field: str) -> None:
        self._start(THINKING, {"type": THINKING, "thinking": "", "signature": ""})
        self._field, self._thought = field, []

    def _start(self, block_type: str, block: dict[str, object]) -> None:
        self.close()
        self.open = block_type
        self._index += 1
        self._blank = self._blank_type = ""
        self.out.append(events.block_start(self._index, block))

    def _signature(self) -> None:
        signature = sign(self._signing_key, "".join(self._thought), self._field)
        self.out.append(events.signature_delta(self._index, signature))
