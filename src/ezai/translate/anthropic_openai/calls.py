"""Tool calls put together from fragments, and told one after the other.

Servers agree on little: an index, an id or a name may be missing, repeated or late; arguments come in pieces, at once
or as an object; calls come one by one or mixed. Source: reference of the Messages API, section 7.5.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from ezai.errors import UpstreamMalformed
from ezai.protocol.json_prefix import WHITESPACE, JsonPrefix, NotAnObject
from ezai.protocol.openai.chunks import CalledFunction, CallFragment
from ezai.translate.anthropic_openai.blocks import AnswerBlocks
from ezai.translate.anthropic_openai.signed_ids import signed_id
from ezai.translate.terms import AnswerTerms

_BASE_62 = string.digits + string.ascii_letters
_ODD = re.compile("[^A-Za-z0-9_-]")
"""What the Messages API takes neither in an id nor in a name: it would refuse the conversation from then on."""
_MAX_NAME = 128
_NO_FUNCTION = CalledFunction()
_decode = msgspec.json.Decoder().decode


class Call:
    """One call, as far as it is known. Of the `pieces` of its arguments the client has got as many as `told` says."""

    __slots__ = ("arguments", "id", "index", "name", "number", "opened", "pieces", "signature", "told")

    def __init__(self, number: int, index: int | str | None = None) -> None:
        self.number = number
        self.index = index
        self.id = ""
        self.name = ""
        self.signature = ""
        self.arguments = JsonPrefix()
        self.pieces: list[str] = []
        self.told = 0
        self.opened = False

    def take_name(self, name: str, offered: Sequence[str]) -> None:
        """More of the name: all of it, once more, or the next piece of the name of an offered tool."""
        if not self.name:
            self.name = name
        elif self.is_named_on(name, offered):
            self.name += name

    def is_named_on(self, name: str, offered: Sequence[str]) -> bool:
        """Whether `name` is the next piece of its name."""
        longer = self.name + name
        return name != self.name and not self.arguments.begun and any(one.startswith(longer) for one in offered)

    def is_told_again(self, arguments: str) -> bool:
        """Whether these are all of its arguments once more, which some engines end a call with."""
        try:
            return self.arguments.complete and _decode(arguments) == _decode("".join(self.pieces))
        except (msgspec.DecodeError, RecursionError):
            return False

    def is_another(
        self, fragment: CallFragment, function: CalledFunction, arguments: str, offered: Sequence[str]
    ) -> bool:
        """Whether a fragment that stands where this call does belongs to the next one."""
        if fragment.id and self.id:
            return fragment.id != self.id and not self._is_renumbered(fragment, function, arguments)
        if not (function.name and self.name) or self.is_named_on(function.name, offered):
            return False
        if function.name != self.name:
            return True
        follows = self.arguments.complete and bool(arguments.strip())
        return follows and not (fragment.index is not None and self.is_told_again(arguments))

    def _is_renumbered(self, fragment: CallFragment, function: CalledFunction, arguments: str) -> bool:
        """Some engines make up an id for every fragment; in the middle of arguments no other call begins so."""
        midway = self.arguments.begun and not self.arguments.complete
        return midway and fragment.index is not None and not function.name and bool(arguments)


class ToolCalls:
    """The calls of one answer, as blocks in the order in which they began.

    The first that is not whole is told live. What comes while it is open waits in `queue`, in order: calls, and other
    parts of the answer, as what tells them.
    """

    __slots__ = (
        "_blocks",
        "_by_id",
        "_by_index",
        "_last",
        "_made",
        "_message_id",
        "_names",
        "_offered",
        "_taken_ids",
        "queue",
    )

    def __init__(self, blocks: AnswerBlocks, message_id: str, terms: AnswerTerms) -> None:
        self._blocks = blocks
        self._message_id = message_id
        self._names = terms.tool_names
        self._offered = terms.offered
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[int | str, Call] = {}
        self._last: Call | None = None
        self._taken_ids: dict[str, int] = {}  # and how often calls have asked for each
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
        call.take_name(function.name or "", self._offered)
        call.signature = call.signature or fragment.signature()
        if arguments == "null" and not call.arguments.begun:
            arguments = ""  # how some servers write that there are none
        rest = self.take(call, arguments)
        if rest.strip(WHITESPACE) and not call.is_told_again(rest):
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
        call.pieces.append(text[:size])
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
        if call is None or call.is_another(fragment, function, arguments, self._offered):
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
        if not call.name or self._may_be_named_on(call):
            return False
        if not call.opened:
            self._open(call)
        if call.told < len(call.pieces):
            self._blocks.input_json("".join(call.pieces[call.told :]))
            call.told = len(call.pieces)
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

    def _may_be_named_on(self, call: Call) -> bool:
        """Whether more of its name may come: there is a longer one, and the arguments have not begun."""
        return not call.arguments.begun and any(one != call.name and one.startswith(call.name) for one in self._offered)

    def _open(self, call: Call) -> None:
        call.opened = True
        self._blocks.tool_use(self._client_id(call), self._client_name(call))

    def _client_name(self, call: Call) -> str:
        """As the client calls the tool. A name that no tool has is one that the API takes, for the client to refuse."""
        name = call.name.strip()
        return self._names.get(name) or _ODD.sub("_", name)[:_MAX_NAME] or "_"

    def _client_id(self, call: Call) -> str:
        """The upstream's id in the letters that the API allows, or a made one, signed; no two calls have the same."""
        base = _ODD.sub("_", call.id) or _made_id(self._message_id, call.number)
        chosen, another = base, self._taken_ids.get(base, 1)
        while chosen in self._taken_ids:
            another += 1
            chosen = f"{base}_{another}"
        self._taken_ids |= {base: another, chosen: 1} if chosen != base else {base: 1}
        return signed_id(chosen, call.signature)


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
