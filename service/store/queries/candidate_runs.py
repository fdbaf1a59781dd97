"""The runs that the lists of runs and results examine: the index that yields the fewest, for both lists."""

from collections.abc import Sequence
from typing import Final

from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection

_MAX_COMMITS: Final = 20  # that begin with the same digits; each of them is one more range of the index
_INDEXED_STATUSES: Final = {  # of results
    "f": "driver_project_with_failed",
    "e": "driver_project_with_error",
    "s": "driver_project_with_skipped",
    "c": "driver_project_with_canceled",
}


async def find_commits(connection: Connection, org_id: OrgId, filter_: RunFilter) -> Sequence[str] | None:
    """Return the commits that begin with the digits of the filter. None if it has none, or if too many commits match.

    The index is sorted by commit and then by run, so only the runs of one commit are in the order of the list.
    """
    if filter_.commit_sha is None:
        return None
    statement = compose("commits", max_commits=_MAX_COMMITS + 1)
    rows = await statement.fetch_rows(connection, {"org_id": org_id, "commit_sha": filter_.commit_sha})
    return [row["commit_sha"] for row in rows] if len(rows) <= _MAX_COMMITS else None


def candidate_runs(filter_: RunFilter, *, by_commit: bool) -> dict[str, str]:
    """Return the fragments that find the runs. With `by_commit`, the commits are known."""
    if isinstance(filter_, ResultFilter) and filter_.run_id is not None:
        return {"driver": "driver_run"}
    if by_commit:
        return {"candidates": "candidates_of_commits"}
    if filter_.project_id is not None:
        return {"driver": _driver_of_project(filter_)}
    if filter_.branch is not None:
        return {"driver": "driver_branch"}
    return {"driver": "driver_environment" if filter_.environment is not None else "driver_any"}


def _driver_of_project(filter_: RunFilter) -> str:
    if filter_.branch is not None:
        return "driver_project_and_branch"
    if filter_.flaky:
        return "driver_project_with_flaky"
    if isinstance(filter_, ResultFilter) and len(filter_.statuses) == 1:
        return _INDEXED_STATUSES.get(filter_.statuses[0], "driver_project")
    return "driver_project"
