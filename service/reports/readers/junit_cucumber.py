"""The step of a failed scenario of Cucumber, which states an undefined step only in the output of the case."""

from collections.abc import Iterable
from typing import Final

from service.contracts.run_events import ResultIn
from service.domain.failures import FAILING_STEP, explains_failure
from service.reports.bounded_text import BoundedText

_MAX_LINE: Final = 1_000  # characters


def add_failing_step(result: ResultIn, outputs: Iterable[BoundedText]) -> None:
    """Add the first step that didn't pass to the details, unless the failure states a cause."""
    failure = result.get("failure") or {}
    if explains_failure(failure.get("message"), failure.get("details")):
        return
    lines = (line.strip() for output in outputs for line in output.details().splitlines() if len(line) < _MAX_LINE)
    if step := next(filter(None, map(FAILING_STEP.fullmatch, lines)), None):
        result["failure"] = {**failure, "details": f"{step[2]}: {step[1]}"}
