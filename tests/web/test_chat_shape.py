"""The shape of the chat page's code: who may import whom, and the few places where it touches what is dangerous."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web.node import WEB

CHAT = WEB / "chat"
MAX_LINES = 250
# A file imports only from its own folder, or from those before it. `model` and `render` need no page to run in.
ROWS = ("model", "render", "edge", "ui")
SOURCES = sorted(path for path in CHAT.rglob("*.ts*") if "test" not in path.parts)
ONE_PLACE = {
    r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write": "ui/Html.tsx",
    r"DOMPurify": "render/markdown.ts",
    r"localStorage\b|sessionStorage\b": "edge/web_storage.ts",
    r"\bfetch\(": "edge/gateway.ts",
    r"openStream": "edge/answering.ts",
}


def name(path: Path) -> str:
    return path.relative_to(CHAT).as_posix()


def code(path: Path) -> str:
    """The file without its comments."""
    return re.sub(r"/\*.*?\*/|^\s*//.*?$|(?<=\s)//.*?$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def test_a_file_imports_only_from_its_own_row_or_rows_before_it() -> None:
    wrong = []
    for path in SOURCES:
        row = path.relative_to(CHAT).parts[0]
        if row in ROWS:
            imported = re.findall(r'from "\.\./(?:\.\./)?(\w+)/', code(path))
            wrong += [f"{name(path)} imports {other}" for other in imported if other in ROWS[ROWS.index(row) + 1 :]]
    assert wrong == []


@pytest.mark.parametrize("pattern", ONE_PLACE)
def test_what_is_dangerous_has_one_place(pattern: str) -> None:
    assert [name(path) for path in SOURCES if re.search(pattern, code(path))] == [ONE_PLACE[pattern]]


def test_nothing_runs_text_as_code() -> None:
    assert [name(path) for path in SOURCES if re.search(r"\beval\(|new Function\(|setTimeout\(\"", code(path))] == []


def test_every_file_says_what_it_is_or_what_it_holds() -> None:
    assert [name(path) for path in SOURCES if "/**" not in path.read_text("utf-8")] == []


def test_no_file_is_long() -> None:
    lines = {name(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_the_search_sees_the_source() -> None:
    assert {"main.tsx", "ui/App.tsx", "model/state.ts"} <= {name(path) for path in SOURCES}
