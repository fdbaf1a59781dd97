"""What the gate found: the decision about each run, the projects that sent no results, and the exit code."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from service.client.changes import RunChanges
from service.client.http import JsonObject
from service.client.pipelines import MissingProject, describe_missing_projects
from service.client.runs import INCOMPLETE
from service.client.selections import Selection
from service.domain.texts import Quote

PASSED: Final = 0
BLOCKED: Final = 1
FAILED: Final = 3  # no decision is possible

_RULE: Final = "max_missing_parts"


class RunOutcome(NamedTuple):
    """The decision about one run with its changes, or the problem that prevents a decision.

    `is_error` is true if the server rejected a request, and false if the run isn't complete or lacks a report.
    """

    run_id: str
    run: JsonObject | None
    decision: JsonObject | None = None
    changes: RunChanges | None = None
    problem: str | None = None
    is_error: bool = False
    warnings: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of the run."""
        if self.decision is None:
            return FAILED if self.is_error else INCOMPLETE
        return BLOCKED if self.decision["decision"] == "blocked" else PASSED

    @property
    def state(self) -> str:
        """The decision, or why there is none."""
        if self.decision is None:
            return "error" if self.is_error else "incomplete"
        return str(self.decision["decision"])

    @property
    def project(self) -> str:
        """The project of the run, or the ID of a run that doesn't exist."""
        return str(self.run["project_id"]) if self.run else self.run_id


class GateOutcome(NamedTuple):
    """The outcomes of all runs, and the projects that sent no results to the pipeline.

    `problems` are errors because of which other runs or missing projects are unknown. `limits` are the options
    with limits, without which the default decides unless a gate does.
    """

    selection: Selection
    runs: Sequence[RunOutcome]
    missing_projects: Sequence[MissingProject] = ()
    problems: Sequence[str] = ()
    limits: str = ""

    @property
    def exit_code(self) -> int:
        """The highest exit code of a run. Projects that sent no results block."""
        codes = [run.exit_code for run in self.runs] + [BLOCKED] * self.lacks_projects + [FAILED] * bool(self.problems)
        return max(codes, default=INCOMPLETE)

    @property
    def lacks_projects(self) -> bool:
        """Whether more projects sent no results than the policies allow to be missing."""
        limits = [run.decision["policy"].get(_RULE) for run in self.runs if run.decision]
        counted = [limit for limit in limits if limit is not None]
        return bool(counted) and sum(not missing.allowed for missing in self.missing_projects) > min(counted)

    @property
    def state(self) -> str:
        """The decision about all runs: blocked if one is blocked, and waived only if one is waived and all pass."""
        states = [run.state for run in self.runs] + ["blocked"] * self.lacks_projects + ["error"] * bool(self.problems)
        order = ("blocked", "error", "incomplete", "waived", "passed")
        return min(states, key=order.index, default="incomplete")

    @property
    def projects(self) -> list[str]:
        """The projects of the runs that exist."""
        return sorted({run.project for run in self.runs if run.run})

    def compared(self) -> Iterator[RunChanges]:
        """Yield the changes of the runs with a decision."""
        yield from (run.changes for run in self.runs if run.changes)

    def describe_missing_projects(self, quote: Quote = str) -> str | None:
        """Return which projects sent no results, or None."""
        return describe_missing_projects(self.missing_projects, len(self.projects), quote)
