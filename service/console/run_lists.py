"""The rows of the list of runs: each run with its decision, and the runs of one pull request below each other."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.domain.gates import DecisionSummary
from service.domain.ids import RunKey
from service.domain.rows import RunRow
from service.domain.statuses import FAILING


class ListedRun(NamedTuple):
    """A run with the decision about its revision, or without one."""

    run: RunRow
    decision: DecisionSummary | None

    @property
    def is_compared(self) -> bool:
        """Whether the decision states which failures are new. Without a baseline, it counts all of them as new."""
        return self.decision is not None and self.decision.has_baseline

    @property
    def lacks_results(self) -> bool:
        """Whether results are missing, so that a passed run isn't shown as passed."""
        return self.run.failures_missing or bool(self.decision and self.decision.missing_parts)

    @property
    def has_only_known_failures(self) -> bool:
        """Whether the run failed, but a comparison found neither a new failure nor a missing part: it's no news."""
        decision = self.decision
        if decision is None or not decision.has_baseline or not self.run.complete or self.lacks_results:
            return False
        return self.run.status in FAILING and decision.failures.new == 0 and decision.missing_parts == 0


class RunGroup(NamedTuple):
    """The runs of one pull request on a page, or one other run; newest first."""

    runs: list[ListedRun]

    @property
    def newest(self) -> ListedRun:
        """The newest run."""
        return self.runs[0]

    @property
    def title(self) -> str | None:
        """The newest known title of the pull request."""
        return next((item.run.title for item in self.runs if item.run.title is not None), None)

    @property
    def author(self) -> str | None:
        """The newest known author of the pull request."""
        return next((item.run.author for item in self.runs if item.run.author is not None), None)

    @property
    def newest_of_projects(self) -> list[ListedRun]:
        """The newest run of each project. A pull request of a monorepo has runs of several projects."""
        newest: dict[str, ListedRun] = {}
        for item in self.runs:
            newest.setdefault(item.run.project_id, item)
        return list(newest.values())


def group_runs(runs: Sequence[RunRow], decisions: Mapping[RunKey, DecisionSummary]) -> list[RunGroup]:
    """Return the runs of a page, in which those of one pull request are below the newest of them.

    Only the runs of this page are grouped, so no run is hidden or repeated: earlier runs of a pull request can be on
    the next pages, below the newest of them there. Pull requests with the same number in different repositories differ.
    The project distinguishes them if the repository is unknown.
    """
    groups: dict[tuple[str, ...], RunGroup] = {}
    for run in runs:
        groups.setdefault(_group_key(run), RunGroup([])).runs.append(ListedRun(run, decisions.get(run.run_key)))
    return list(groups.values())


def _group_key(run: RunRow) -> tuple[str, ...]:
    if run.pull_request is None:
        return (run.run_id,)
    repository = ("repository", run.repository_url) if run.repository_url else ("project", run.project_id)
    return (*repository, run.pull_request)
