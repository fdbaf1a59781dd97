"""How the commands write: the same on a terminal and, without bars and cut lines, into a job's log."""

import os
import sys
from typing import Final

from rich.console import Console

_LOG_WIDTH: Final = 160  # columns, where no terminal says how many


def console(*, stderr: bool = False) -> Console:
    """Writes what it is given, whatever looks like markup in it."""
    is_sized = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    width = None if is_sized else _LOG_WIDTH
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, width=width)
