"""What the references in a schema point to: other parts of it, named by JSON pointers (RFC 6901)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from ezai.translate.anthropic_openai.schemas import inner_schemas

ASIDE = frozenset({"$defs", "definitions"})
"""Keywords that hold schemas for others to point to."""


class References:
    """The references of one schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._circular: dict[str, bool] = {}
        self._next: dict[str, frozenset[str]] = {}

    def target(self, reference: str) -> Any:
        """The schema that it points to. Raises `LookupError` for one that is elsewhere, or nowhere."""
        if reference != "#" and not reference.startswith("#/"):
            raise LookupError(reference)
        found = self._root
        for token in unquote(reference[2:]).split("/") if len(reference) > 1 else ():
            name = token.replace("~1", "/").replace("~0", "~")
            found = found[int(name) if isinstance(found, list) and name.isdecimal() else name]
        if not isinstance(found, dict | bool):
            raise LookupError(reference)
        return found

    def is_circular(self, reference: str) -> bool:
        """Whether its target leads back to it."""
        if reference not in self._circular:
            self._circular[reference] = reference in self._reached(reference)
        return self._circular[reference]

    def _reached(self, reference: str) -> set[str]:
        reached = set[str]()
        waiting = [reference]
        while waiting:
            found = self._following(waiting.pop()) - reached
            reached |= found
            waiting += found
        return reached

    def _following(self, reference: str) -> frozenset[str]:
        """The references in its target; none where there is no target, for whoever gets there to say so."""
        if reference not in self._next:
            try:
                self._next[reference] = frozenset(_references_in(self.target(reference)))
            except LookupError:
                self._next[reference] = frozenset()
        return self._next[reference]


def _references_in(schema: Any) -> Iterator[str]:
    """Those in a schema, without what is only kept in it for others to point to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in inner_schemas({name: value for name, value in schema.items() if name not in ASIDE}):
            yield from _references_in(inner)
