"""Counts the work of a function, so that a test of linearity depends on no clock."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def executed_lines(function: Callable[[], object]) -> int:
    """Return the number of lines of Python that a call executes, also in loops and in the libraries that it calls."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    previous = sys.gettrace()  # of a measurement of the coverage
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(previous)
    return count
