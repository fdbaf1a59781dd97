"""Gates: the rules that decide whether a run passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class GateOutcome(NamedTuple):
    """The decision of a gate about a run. A run that passes with failures also has reasons."""

    passes: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Gate:
    """The maximum number of failures, and whether flaky results (passed only after a failure) don't count as such."""

    max_failures: int = 0
    allow_flaky: bool = False

    def evaluate(self, status: str, counts: Mapping[str, int]) -> GateOutcome:
        """Return whether a complete run with this status and these counts passes, and the reasons."""
        failures = counts["failed"] + counts["error"]
        flaky = 0 if self.allow_flaky else counts["flaky"]
        reasons = []
        if failures + flaky:
            flaky_text = f" and {flaky} flaky" if flaky else ""
            reasons.append(f"{failures} failed{flaky_text}, at most {self.max_failures} allowed")
        passes = failures + flaky <= self.max_failures
        if status == "canceled" or (status in ("failed", "error") and not failures):
            passes = False
            reasons.append(f"the status of the run itself is {status}")
        return GateOutcome(passes, reasons)
