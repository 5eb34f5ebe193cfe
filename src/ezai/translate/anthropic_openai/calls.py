"""Tool calls put together from fragments, and told one after the other.

Servers agree on little: an index, an id or a name may be missing, repeated or late; arguments come in pieces, at once
or as an object; calls come one by one or mixed. Source: reference of the Messages API, section 7.5.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import deque
from collections.abc import Callable, Mapping

from ezai.errors import UpstreamMalformed
from ezai.protocol.json_prefix import WHITESPACE, JsonPrefix, NotAnObject
from ezai.protocol.openai.chunks import CalledFunction, CallFragment
from ezai.translate.anthropic_openai.blocks import AnswerBlocks

_BASE_62 = string.digits + string.ascii_letters
_NOT_IN_AN_ID = re.compile("[^A-Za-z0-9_-]")
_NO_FUNCTION = CalledFunction()


class Call:
    """One call, as far as it is known. `waiting` is the part of its arguments that the client has not got."""

    __slots__ = ("arguments", "id", "index", "name", "number", "opened", "waiting")

    def __init__(self, number: int, index: int | str | None = None) -> None:
        self.number = number
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments = JsonPrefix()
        self.waiting: list[str] = []
        self.opened = False

    def is_another(self, fragment: CallFragment, function: CalledFunction, arguments: str) -> bool:
        """Whether a fragment that stands where this call does belongs to the next one."""
        if fragment.id and self.id:
            return fragment.id != self.id and not self._is_renumbered(fragment, function, arguments)
        if function.name and self.name:
            return function.name != self.name or (
                self.arguments.complete and not arguments.isspace() and arguments != ""
            )
        return False

    def _is_renumbered(self, fragment: CallFragment, function: CalledFunction, arguments: str) -> bool:
        """Some engines make up an id for every fragment; in the middle of arguments no other call begins so."""
        midway = self.arguments.begun and not self.arguments.complete
        return midway and fragment.index is not None and not function.name and bool(arguments)


class ToolCalls:
    """The calls of one answer, as blocks in the order in which they began.

    The first that is not whole is told live. What comes while it is open waits in `queue`, in order: calls, and other
    parts of the answer, as what tells them.
    """

    __slots__ = ("_blocks", "_by_id", "_by_index", "_last", "_made", "_message_id", "_names", "_taken_ids", "queue")

    def __init__(self, blocks: AnswerBlocks, message_id: str, names: Mapping[str, str]) -> None:
        self._blocks = blocks
        self._message_id = message_id
        self._names = names
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[int | str, Call] = {}
        self._last: Call | None = None
        self._taken_ids: set[str] = set()
        self._made = 0
        self.queue: deque[Call | Callable[[], None]] = deque()

    @property
    def told(self) -> bool:
        """Whether the client has got any."""
        return bool(self._taken_ids)

    # What comes.

    def fragment(self, fragment: CallFragment) -> None:
        """One more fragment. Raises `UpstreamMalformed` for arguments that no JSON object begins with."""
        function = fragment.function or _NO_FUNCTION
        arguments = function.arguments_text()
        if not (fragment.id or function.name or arguments):
            return
        call = self._call_of(fragment, function, arguments)
        call.name = call.name or function.name or ""
        if self.take(call, arguments).strip(WHITESPACE):
            raise _no_object()
        self._tell()

    def begin(self, name: str = "", index: int | str | None = None) -> Call:
        """The next call."""
        self._last = call = Call(self._made, index)
        self._made += 1
        call.name = name
        self.queue.append(call)
        return call

    def more(self, call: Call, text: str) -> str:
        """More of a call's arguments, told where it can be. Returns what stands behind their end."""
        rest = self.take(call, text)
        self._tell()
        return rest

    def take(self, call: Call, text: str) -> str:
        """The same, not yet told. Whitespace before the arguments is none of them."""
        if not call.arguments.begun:
            text = text.lstrip(WHITESPACE)
        if not text or call.arguments.complete:
            return text
        try:
            size = call.arguments.feed(text)
        except NotAnObject:
            raise _no_object() from None
        call.waiting.append(text[:size])
        return text[size:]

    def end(self, *, cut: bool) -> None:
        """No call goes on. Raises `UpstreamMalformed` for one that is not whole, unless the answer was `cut`."""
        while self.queue:
            first = self.queue.popleft()
            if isinstance(first, Call):
                self._end_call(first, cut=cut)
            else:
                first()

    # Which call it belongs to.

    def _call_of(self, fragment: CallFragment, function: CalledFunction, arguments: str) -> Call:
        call = self._standing_at(fragment, function)
        if call is None or call.is_another(fragment, function, arguments):
            call = self.begin(index=fragment.index)
        if fragment.index is not None:
            self._by_index[fragment.index] = call
        if fragment.id and not call.id:
            call.id = fragment.id
            self._by_id[fragment.id] = call
        return call

    def _standing_at(self, fragment: CallFragment, function: CalledFunction) -> Call | None:
        known = self._by_id.get(fragment.id) if fragment.id else None
        if known is not None and (fragment.index is None or known.index in {None, fragment.index}):
            return known
        if fragment.index is None:
            return self._last
        begins = bool(fragment.id or function.name)
        return self._by_index.get(fragment.index, None if begins else self._last)

    # What is told.

    def _tell(self) -> None:
        while self.queue:
            first = self.queue[0]
            if not isinstance(first, Call):
                first()
            elif not self._tell_call(first):
                return
            self.queue.popleft()

    def _tell_call(self, call: Call) -> bool:
        """Tell what there is of it. Returns whether that was the last."""
        if not call.name:
            return False
        if not call.opened:
            self._open(call)
        if call.waiting:
            self._blocks.input_json("".join(call.waiting))
            call.waiting.clear()
        if call.arguments.complete:
            self._blocks.close()
        return call.arguments.complete

    def _end_call(self, call: Call, *, cut: bool) -> None:
        if not call.name:
            if call.arguments.begun and not cut:
                raise UpstreamMalformed("The upstream called a tool without naming it.")
            return
        if not cut and not call.arguments.begun:
            self.take(call, "{}")
        if not self._tell_call(call):
            if not cut:
                raise UpstreamMalformed("The upstream called a tool with arguments that are not whole.")
            self._blocks.close()

    def _open(self, call: Call) -> None:
        call.opened = True
        self._blocks.tool_use(self._client_id(call), self._names.get(call.name, call.name))

    def _client_id(self, call: Call) -> str:
        """The upstream's id in the letters that the API allows, or a made one; no two calls have the same."""
        base = _NOT_IN_AN_ID.sub("_", call.id) or _made_id(self._message_id, call.number)
        chosen, another = base, 1
        while chosen in self._taken_ids:
            another += 1
            chosen = f"{base}_{another}"
        self._taken_ids.add(chosen)
        return chosen


def _made_id(message_id: str, number: int) -> str:
    """The same for the same call of the same message."""
    value = int.from_bytes(hashlib.sha256(f"{message_id}.{number}".encode()).digest())
    digits = []
    for _ in range(24):
        value, digit = divmod(value, 62)
        digits.append(_BASE_62[digit])
    return "toolu_" + "".join(digits)


def _no_object() -> UpstreamMalformed:
    return UpstreamMalformed("The upstream called a tool with arguments that are no JSON object.")
