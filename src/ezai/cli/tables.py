"""Where tables are printed to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNBOUNDED_COLUMNS = 10_000


def table_console() -> Console:
    """The standard output, on which names are no markup. As wide as its rows where no terminal is behind it: what
    reads a pipe or a file wants whole cells, and each row on one line.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNBOUNDED_COLUMNS
    return Console(markup=False, highlight=False, emoji=False, width=width)
