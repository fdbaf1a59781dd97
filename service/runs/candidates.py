"""The runs that the lists of runs and results examine, newest first.

The first filter that is set chooses the index: run_id, commit, pipeline, pull request, author, untrusted, project and
branch, project and flaky, project and one status of results, project, branch, environment.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.database.database import Connection
from service.database.statements import Fragment, Statement, compose
from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import OrgId, RunKey
from service.domain.statuses import STATUS_NAMES

_MAX_COMMITS: Final = 20  # that begin with the same digits; each of them is one more range of the index
# The condition for each index. Runs without an index are filtered afterwards, within the scan budget.
_CONDITIONS: Final[Mapping[str, str]] = {
    "organization": "{listed_in_range}",
    "untrusted": "NOT trusted AND run_key BETWEEN :first_key AND :before_run",
    "pipeline": "pipeline = :pipeline AND {listed_in_range}",
    "pull_request": "pull_request = :pull_request AND {listed_in_range}",
    "author": "author = :author AND {listed_in_range}",
    "environment": "environment = :environment AND {listed_in_range}",
    "branch": "branch = :branch AND {listed_in_range}",
    "project": "project_id = :project_id AND {listed_in_range}",
    "project_and_branch": "project_id = :project_id AND branch = :branch AND {listed_in_range}",
    "project_and_failed": "project_id = :project_id AND failed > 0 AND {listed_in_range}",
    "project_and_error": "project_id = :project_id AND error > 0 AND {listed_in_range}",
    "project_and_skipped": "project_id = :project_id AND skipped > 0 AND {listed_in_range}",
    "project_and_canceled": "project_id = :project_id AND canceled > 0 AND {listed_in_range}",
    "project_and_flaky": "project_id = :project_id AND flaky > 0 AND {listed_in_range}",
}
_SELECTIVE: Final = ("pipeline", "pull_request", "author")  # filters that select fewer runs than a project or branch


class CandidateRun(NamedTuple):
    """A run that matches. `results` is the number of its results that match the filters of statuses and flaky."""

    run_key: RunKey
    project_id: str
    results: int


_COLUMNS: Final = len(CandidateRun._fields)  # before `matches` and `is_edge`


class CandidateRuns(NamedTuple):
    """The next runs, newest first. `is_end` states that the list ends with them.

    `rows` has the columns of `run_fields` for each run if runs are listed. `edge` is the last run within the scan
    budget, or None if the budget didn't end.
    """

    runs: Sequence[CandidateRun]
    rows: Sequence[Sequence[Any]]
    edge: RunKey | None
    is_end: bool


async def find_commits(connection: Connection, org_id: OrgId, filter_: RunFilter) -> Sequence[str] | None:
    """Return the commits that begin with the digits of the filter. None if it has none, or if too many commits match.

    The index is sorted by commit and then by run, so only the runs of one commit are in the order of the list.
    """
    if filter_.commit_sha is None:
        return None
    values = {
        "org_id": org_id, "commit_sha": filter_.commit_sha, "trusted": filter_.is_trusted,
        "max_commits": _MAX_COMMITS + 1,
    }  # fmt: skip
    rows = await compose("commits").fetch_rows(connection, values)
    return [row["commit_sha"] for row in rows] if len(rows) <= _MAX_COMMITS else None


async def find_runs(
    connection: Connection, filter_: RunFilter, values: dict[str, Any], limit: int, budget: int
) -> CandidateRuns:
    """Return at most `limit` runs that match, of at most `budget` runs after the position in `values`.

    `values` are the parameters of the filter and `commits`, the result of `find_commits`.
    """
    statement = runs_statement(filter_, by_commit=values["commits"] is not None)
    lists_runs = not isinstance(filter_, ResultFilter)
    rows = await statement.fetch_rows(
        connection, values | {"page": limit, "run_budget": budget, "lists_runs": lists_runs}
    )
    found = [row for row in rows if row["matches"]]
    runs = [CandidateRun._make(row[:_COLUMNS]) for row in found]
    listed = [row[_COLUMNS + 2 :] for row in found] if lists_runs else ()
    edge = rows[-1][0] if rows and rows[-1]["is_edge"] else None
    return CandidateRuns(runs, listed, edge, is_end=edge is None and len(found) < limit)


def runs_statement(filter_: RunFilter, *, by_commit: bool) -> Statement:
    """Return the statement for the index of the filter. With `by_commit`, the commits are known."""
    if isinstance(filter_, ResultFilter) and filter_.run_id is not None:
        return compose("run_of_id")
    if by_commit:
        return compose("runs_of_commits")
    index = _choose_index(filter_)
    return compose("candidate_runs", selected=Fragment(index, _CONDITIONS[index]))


def _choose_index(filter_: RunFilter) -> str:
    if name := next((name for name in _SELECTIVE if getattr(filter_, name) is not None), None):
        return name
    if filter_.is_trusted is False:
        return "untrusted"
    if filter_.project_id is not None:
        return _choose_index_of_project(filter_)
    if filter_.branch is not None:
        return "branch"
    return "organization" if filter_.environment is None else "environment"


def _choose_index_of_project(filter_: RunFilter) -> str:
    if filter_.branch is not None:
        return "project_and_branch"
    if filter_.flaky:
        return "project_and_flaky"
    if isinstance(filter_, ResultFilter) and len(filter_.statuses) == 1:
        index = f"project_and_{STATUS_NAMES[filter_.statuses[0]]}"
        return index if index in _CONDITIONS else "project"  # most runs have passed results
    return "project"
