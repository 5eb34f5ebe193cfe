"""The shape of the code: who may import whom, what stays pure, what `serve` brings in, how large things grow."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.models.gguf_file import gguf

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
PACKAGE = "ezai"

# A file imports only from its own part, or from the rows above its row. Parts of one row do not import each other.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("protocol",),
    ("translate", "policy"),
    ("ports",),
    ("pipeline",),
    ("upstreams", "models", "store", "observe", "offload", "system"),
    ("server",),
    ("config",),
    ("app",),
    ("supervise", "cli", "__main__"),
)
OF_ONE_ROW_TOGETHER = {"supervise", "cli", "__main__"}
"""The one row whose parts may import each other."""
ANYWHERE = {PACKAGE}
"""The package itself, which holds the version."""
APART = {"lab": {"errors", "protocol"}}
"""Tools that are servers and loads stand beside the rows: they import these alone."""
RUNS_WHAT_STANDS_APART = "cli"

PURE = {"errors", "protocol", "translate", "policy"}
PURE_STANDARD_LIBRARY = {
    "__future__", "abc", "base64", "binascii", "bisect", "codecs", "collections", "copy", "dataclasses", "decimal",
    "enum", "fnmatch", "fractions", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json",
    "math", "operator", "re", "string", "struct", "textwrap", "types", "typing", "unicodedata", "urllib.parse", "zlib",
}  # fmt: skip
"""Values in, values out: nothing here waits, knows a clock, a process or a file, or differs from call to call."""
PURE_THIRD_PARTY = {"msgspec"}

SERVE_BRINGS_IN = {"click", "httptools", "msgspec", "prometheus_client", "typing_extensions", "uvicorn", "uvloop"}
"""Distributions that a serving gateway has imported. click and what it needs come with uvicorn's `__init__`."""

MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 400


class Module(NamedTuple):
    """One file of the package."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def part(self) -> str:
        """The file or folder right below the package that it is, or stands in."""
        return self.name.split(".")[1] if "." in self.name else PACKAGE

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@cache
def modules() -> dict[str, Module]:
    found = {}
    for path in sorted((SRC / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text("utf-8"), str(path)))
    return found


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, inside functions and for the type checker too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no import is relative"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if node.module.split(".")[0] == PACKAGE and whole in modules() else node.module
        elif isinstance(node, ast.Call) and called(node.func) in {"__import__", "import_module"}:
            yield node.lineno, "an import by a computed name"


def called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def row_of(part: str) -> int:
    return next(place for place, row in enumerate(ROWS) if part in row)


def may_import(importing: str, imported: str) -> bool:
    """Whether a file of one part may import from another, by the table."""
    if imported == importing or imported in ANYWHERE:
        return True
    if importing in APART:
        return imported in APART[importing]
    if imported in APART:
        return importing == RUNS_WHAT_STANDS_APART
    if importing in ANYWHERE:
        return False
    if {importing, imported} <= OF_ONE_ROW_TOGETHER:
        return True
    return row_of(imported) < row_of(importing)


# The directions of imports.


def test_every_part_has_its_place_in_the_table() -> None:
    parts = {module.part for module in modules().values()} - ANYWHERE
    assert parts - set(APART) == {part for row in ROWS for part in row}
    assert set(APART) <= parts


def test_a_file_imports_only_from_its_own_part_or_rows_above() -> None:
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line} imports {name}"
        for module in modules().values()
        for line, name in imports(module.tree)
        if name.split(".")[0] == PACKAGE and not may_import(module.part, [*name.split("."), PACKAGE][1])
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importing", "imported", "allowed"),
    [
        ("protocol", "errors", True), ("errors", "protocol", False), ("translate", "protocol", True),
        ("translate", "policy", False), ("policy", "translate", False), ("ports", "translate", True),
        ("pipeline", "ports", True), ("pipeline", "upstreams", False), ("upstreams", "store", False),
        ("observe", "system", False), ("upstreams", "pipeline", True), ("server", "system", True),
        ("server", "store", True), ("server", "config", False), ("config", "server", True), ("app", "config", True),
        ("cli", "app", True), ("cli", "supervise", True), ("app", "cli", False), ("lab", "protocol", True),
        ("lab", "translate", False), ("cli", "lab", True), ("supervise", "lab", False), ("server", "ezai", True),
        ("ezai", "errors", False),
    ],
)  # fmt: skip
def test_the_table_says_what_the_design_says(importing: str, imported: str, allowed: bool) -> None:
    assert may_import(importing, imported) is allowed


def test_the_reader_of_imports_sees_them_all() -> None:
    source = """
from __future__ import annotations
import os.path, re as expression
from ezai import errors, __version__
from ezai.protocol import sse
from ezai.protocol.sse import SseDecoder
if TYPE_CHECKING:
    from ezai.ports import Clock
def function():
    from ezai.config import load
    async def inner():
        import socket
    importlib.import_module("ezai." + name)
"""
    assert sorted(name for _, name in imports(ast.parse(source))) == [
        "__future__",
        "an import by a computed name",
        "ezai",
        "ezai.config",
        "ezai.errors",
        "ezai.ports",
        "ezai.protocol.sse",
        "ezai.protocol.sse",
        "os.path",
        "re",
        "socket",
    ]


def test_no_import_has_a_computed_name() -> None:
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line}"
        for module in modules().values()
        for line, name in imports(module.tree)
        if " " in name
    ]
    assert wrong == []


# What is pure.


def test_the_pure_parts_use_nothing_that_waits_or_differs() -> None:
    allowed = PURE_STANDARD_LIBRARY | PURE_THIRD_PARTY
    wrong = [
        f"{module.path.relative_to(ROOT)}:{line} imports {name}"
        for module in modules().values()
        if module.part in PURE
        for line, name in imports(module.tree)
        if name.split(".")[0] != PACKAGE and name not in allowed and name.split(".")[0] not in allowed
    ]
    assert wrong == []


def test_the_pure_parts_wait_for_nothing() -> None:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    wrong = [
        f"{module.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for module in modules().values()
        if module.part in PURE
        for node in ast.walk(module.tree)
        if isinstance(node, waiting)
    ]
    assert wrong == []


def test_the_pure_parts_reach_for_nothing_outside() -> None:
    wrong = [
        f"{module.path.relative_to(ROOT)}:{node.lineno}"
        for module in modules().values()
        if module.part in PURE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and called(node.func) in {"open", "print", "input", "exec", "eval"}
    ]
    assert wrong == []


def test_the_allowed_standard_library_is_one() -> None:
    assert {name.split(".")[0] for name in PURE_STANDARD_LIBRARY} <= set(sys.stdlib_module_names)
    assert not {"asyncio", "socket", "time", "random", "logging", "os", "threading", "secrets"} & PURE_STANDARD_LIBRARY


# What `ezai serve` brings in.

SERVING = """
import json, os, signal, sys, threading, urllib.request
before = set(sys.modules)
import ezai.cli, ezai.cli.serve
from ezai.supervise import embedded_models

class Child:
    def __init__(self, settings):
        self.context_tokens, self.endpoint = settings.context_tokens, None
    async def start(self): pass
    async def aclose(self): pass
    def subscribe(self, changed): pass

def announce(ready):
    def use():
        urllib.request.urlopen(ready.url + "/v1/models").read()
        body = b'{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"Hi"}]}'
        for headers in ({"content-type": "application/json"}, {}):
            request = urllib.request.Request(ready.url + "/v1/messages", body, headers)
            try:
                urllib.request.urlopen(request)
            except urllib.error.HTTPError as refused:
                refused.read()
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=use).start()

embedded_models.EmbeddedChild = Child
ezai.cli.serve.announce = announce
status = ezai.cli.main(["serve", "--config", sys.argv[1]])
print(json.dumps({"status": status, "modules": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module")
def brought_in(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every module that a gateway has imported when it has served, refused, and stopped."""
    directory = tmp_path_factory.mktemp("serving")
    (directory / "my.gguf").write_bytes(gguf())
    (directory / "ezai.toml").write_text(
        '[server]\nport = 0\n[[upstreams]]\nname = "a"\nkind = "embedded"\nmodel = "my.gguf"\n'
        '[[upstreams]]\nname = "b"\nkind = "openai"\nbase_url = "http://127.0.0.1:1"\n'
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EZAI_")}
    told: dict[str, object] = {}
    for _ in range(2):  # what a first start makes is there at the second
        finished = subprocess.run(
            [sys.executable, "-c", SERVING, str(directory / "ezai.toml")],
            env={**ours, "EZAI_DATA_DIR": str(directory)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        told = json.loads(finished.stdout)
        assert told["status"] == 0
    modules_told = told["modules"]
    assert isinstance(modules_told, list)
    return set(modules_told)


def test_serve_brings_in_no_more_than_it_needs(brought_in: set[str]) -> None:
    distributions = packages_distributions()
    found = {name for module in brought_in for name in distributions.get(module.split(".")[0], [])}
    assert found - {PACKAGE} == SERVE_BRINGS_IN


@pytest.mark.parametrize(
    "name",
    ["rich", "huggingface_hub", "xllamacpp", "pip", "pydantic", "platformdirs", "fastapi", "starlette", "sqlalchemy",
     "alembic", "psycopg", "redis", "httpx", "anyio", "jinja2", "unittest", "pdb", "tkinter", "hpack"],
)  # fmt: skip
def test_serve_does_not_bring_in(name: str, brought_in: set[str]) -> None:
    assert name not in {module.split(".")[0] for module in brought_in}


@pytest.mark.parametrize(
    "name",
    [
        "ezai.lab",
        "ezai.server.http2",
        "ezai.server.pages",
        "ezai.cli.chat",
        "ezai.cli.models",
        "ezai.models.pull",
        "ezai.models.pip_download",
    ],
)
def test_serve_does_not_bring_in_what_other_commands_are_made_of(name: str, brought_in: set[str]) -> None:
    assert name in modules()
    assert name not in brought_in


# The tree explains itself.


def test_every_module_says_what_it_is() -> None:
    assert [name for name, module in modules().items() if not ast.get_docstring(module.tree)] == []


def test_every_package_names_each_of_its_modules() -> None:
    unnamed = []
    for package in modules().values():
        if not package.is_package or package.name == PACKAGE:
            continue
        told = ast.get_docstring(package.tree) or ""
        below = [name for name in modules() if name.rpartition(".")[0] == package.name]
        unnamed += [name for name in below if not named_in(told, name.rpartition(".")[2])]
    assert unnamed == []


def named_in(docstring: str, name: str) -> bool:
    """Whether a line of the list begins with it: `name.py`, `name/`, or `name` alone."""
    return re.search(rf"^\s*{name}(\.py|/)?\s", docstring, re.MULTILINE) is not None


def test_no_package_names_a_module_that_is_not_there() -> None:
    wrong = []
    for package in modules().values():
        if package.is_package:
            told = re.findall(r"^\s*(\w+)(?:\.py|/) ", ast.get_docstring(package.tree) or "", re.MULTILINE)
            wrong += [f"{package.name}: {name}" for name in told if name != "__init__" and not there(package, name)]
    assert wrong == []


def there(package: Module, name: str) -> bool:
    return any((package.path.parent / place).exists() for place in (f"{name}.py", name))


# Size.


def lines_of(node: ast.AST) -> int:
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def worst(sizes: dict[str, int]) -> str:
    """The largest few, for whoever looks at a failure or runs with -s."""
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    told = ", ".join(f"{name} ({lines})" for name, lines in largest)
    print(told)
    return told


def test_no_function_is_long() -> None:
    sizes = {
        f"{module.path.relative_to(SRC)}:{node.lineno} {node.name}": lines_of(node)
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert max(sizes.values()) <= MAX_FUNCTION_LINES, worst(sizes)
    worst(sizes)


def test_no_module_is_long() -> None:
    sizes = {
        str(module.path.relative_to(SRC)): len(module.path.read_text("utf-8").splitlines())
        for module in modules().values()
    }
    assert max(sizes.values()) <= MAX_MODULE_LINES, worst(sizes)
    worst(sizes)


# Nothing of the machine it was made on.

# Put together here, so that this file does not hold them.
FORBIDDEN = tuple(
    "".join(parts)
    for parts in (
        ("/", "work/"),
        ("/", "root/"),
        ("pypi", ".org"),
        ("npm", "js"),
        ("debian", ".org"),
        ("files.python", "hosted"),
    )
)


def files_of_the_repository() -> list[Path]:
    """What is tracked, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    return [ROOT / name for name in sorted(set(os.fsdecode(listed).split("\0"))) if name and (ROOT / name).is_file()]


def test_no_file_names_a_place_of_one_machine_or_a_registry() -> None:
    found = []
    for path in files_of_the_repository():
        text = path.read_bytes().lower()
        found += [f"{path.relative_to(ROOT)}: {name}" for name in FORBIDDEN if name.encode() in text]
    assert found == []


def test_the_search_sees_this_file_and_the_source() -> None:
    files = files_of_the_repository()
    assert Path(__file__).resolve() in files
    assert {module.path for module in modules().values()} <= set(files)
