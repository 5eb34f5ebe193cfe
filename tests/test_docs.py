"""Documentation that cannot lie: what it shows is compared with what runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from ezai import config, errors
from ezai.observe.metrics import Metrics
from ezai.observe.request_log import RequestLog
from ezai.ports import Outcome
from ezai.protocol.anthropic.order import diagram
from ezai.protocol.end import Cause, End, UsageSource
from ezai.protocol.usage import Usage
from tests.pipeline.fakes import FakeClock

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recordings").glob("*.md")])


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_diagram_is_drawn_from_the_table() -> None:
    assert blocks((ROOT / "docs/protocol.md").read_text(), "mermaid") == [diagram() + "\n"]


def test_every_code_of_an_ending_is_explained() -> None:
    page = (ROOT / "docs/protocol.md").read_text()
    told = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, (errors.UpstreamError, errors.Overloaded))
    }
    assert not [code for code in told if f"`{code}`" not in page]


@pytest.mark.parametrize("example", [*blocks(CONFIGURATION, "toml"), *blocks(README, "toml")])
def test_examples_of_the_configuration_are_valid(example: str, tmp_path: Path) -> None:
    file = tmp_path / "ezai.toml"
    file.write_text(example)
    assert config.load(file, {"ANTHROPIC_API_KEY": "sk-upstream"}).routes


def test_every_key_of_the_configuration_is_documented() -> None:
    shown = tomllib.loads(blocks(CONFIGURATION, "toml")[0])
    for section, kind in (
        ("server", config.ServerConfig),
        ("limits", config.LimitsConfig),
        ("log", config.LogConfig),
        ("store", config.StoreConfig),
    ):
        defaults = msgspec.to_builtins(kind())
        assert shown[section] == defaults, section
    kinds = {kind.__struct_config__.tag: set(kind.__struct_fields__) for kind in get_args(config.UpstreamConfig)}
    assert {upstream["kind"]: set(upstream) - {"kind"} for upstream in shown["upstreams"]} == kinds
    embedded = shown["upstreams"][0]
    assert set(shown["routes"][0]) == {item.name for item in msgspec.structs.fields(config.RouteConfig)}
    assert embedded["timeouts"] == msgspec.to_builtins(config.TimeoutsConfig())


def test_every_environment_variable_is_documented() -> None:
    used = set()
    for path in (ROOT / "src").rglob("*.py"):
        used |= set(re.findall(r"\bEZAI_[A-Z_]+\b", path.read_text()))
    assert not [name for name in used if f"`{name}`" not in CONFIGURATION and f", `{name}`" not in CONFIGURATION]


def test_the_fields_of_the_log_and_the_metrics_are_those_that_are_documented(caplog: pytest.LogCaptureFixture) -> None:
    section = (ROOT / "docs/operations.md").read_text().partition("## Log and metrics\n")[2].partition("\n## ")[0]
    log, metrics = (set(re.findall(r"`([a-z_]+)`(?=[^|]*\|)", part)) for part in first_cells(section))
    families = Metrics().families()
    assert metrics == {family.name + "_total" * (family.kind == "counter") for family in families}
    with caplog.at_level("INFO", "ezai.requests"):
        end = End(Cause.FINISHED, Usage(), UsageSource.UPSTREAM)
        lines = RequestLog(FakeClock())
        lines.ended(Outcome("req_1", 200, Cause.FINISHED, duration_s=1, end=end))
        lines.write()
    assert log == set(caplog.records[0].__dict__["fields"])


def first_cells(section: str) -> tuple[str, str]:
    """The first column of each of two tables, a cell a line, with a bar behind it."""
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    one, other = ("".join(f"{row.split('|')[1]}|\n" for row in table.splitlines()[2:]) for table in tables)
    return one, other


def test_python_examples_are_python() -> None:
    for example in blocks(README, "python"):
        ast.parse(example)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_make_targets_named_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`?\bmake ([a-z-]+)`", page.read_text()))
        assert named <= targets, page


def test_contributing_tells_what_ci_runs() -> None:
    run = set(re.findall(r"^make \S+", (ROOT / ".ci/run").read_text(), re.MULTILINE))
    start = (ROOT / "CONTRIBUTING.md").read_text().partition("## Start")[2].partition("\n## ")[0]
    assert [target for target in sorted(run) if target not in start] == []
    assert run


def test_commands_named_in_the_readme_exist() -> None:
    for command in set(re.findall(r"ezai (serve|chat|models|check|keys|usage|bench|mock|record|replay)\b", README)):
        shown = subprocess.run([sys.executable, "-m", "ezai", command, "--help"], check=True, capture_output=True)
        assert shown.stdout


def test_architecture_names_every_room() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rooms = [path.stem for path in (ROOT / "src/ezai").iterdir() if not path.name.startswith("_")]
    assert not [room for room in rooms if room != "py" and room not in page]
