"""Whether a run may pass a gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Gate:
    """What is allowed: so many failures, and whether cases that passed only after failing count as such."""

    max_failures: int = 0
    allow_flaky: bool = False

    def judge(self, status: str, counts: Mapping[str, int]) -> "Verdict":
        """Whether a complete run passes, and why."""
        failures = counts["failed"] + counts["error"]
        flaky = 0 if self.allow_flaky else counts["flaky"]
        also = f" and {flaky} flaky" if flaky else ""
        reasons = [f"{failures} failed{also}, at most {self.max_failures} allowed"] if failures + flaky else []
        passes = failures + flaky <= self.max_failures
        if status == "canceled" or (status in ("failed", "error") and not failures):
            passes = False
            reasons.append(f"the status of the run itself is {status}")
        return Verdict(passes, reasons)


class Verdict(NamedTuple):
    """What a gate says of a run. One that passes has reasons too where not all is well."""

    passes: bool
    reasons: list[str]
