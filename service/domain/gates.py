"""Whether a run may pass a gate."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """What is allowed: so many failures, and whether cases that passed only after failing count as such."""

    max_failures: int = 0
    allow_flaky: bool = False

    def refusals(self, status: str, counts: Mapping[str, int]) -> list[str]:
        """Why a complete run does not pass, in words; empty where it does."""
        failures = counts["failed"] + counts["error"]
        flaky = 0 if self.allow_flaky else counts["flaky"]
        refusals = []
        if failures + flaky > self.max_failures:
            also = f" and {flaky} flaky" if flaky else ""
            refusals.append(f"{failures} failed{also}, at most {self.max_failures} allowed")
        if status == "canceled" or (status in ("failed", "error") and not failures):
            refusals.append(f"the run itself is {status}")
        return refusals
