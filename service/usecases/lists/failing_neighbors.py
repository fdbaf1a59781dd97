"""The failing results of a run before and after one of them, in the order in which its page lists those of a change."""

from bisect import bisect_left
from typing import NamedTuple

from service.domain.ids import result_id
from service.domain.keys import Caller
from service.domain.rows import ResultRow
from service.store.postgres.database import Pool, as_organization
from service.store.queries.comparison import find_failing


class FailingNeighbors(NamedTuple):
    """The IDs of the previous and the next failing result, or None. `position` starts at 1."""

    previous: str | None
    next: str | None
    position: int
    total: int


async def find_neighbors(pool: Pool, caller: Caller, result: ResultRow) -> FailingNeighbors | None:
    """Return the neighbors of a result that the caller can see, or None if it isn't failing."""
    run_key = result.run.run_key
    async with as_organization(pool, caller.org_id) as connection:
        cases = await find_failing(connection, caller.org_id, run_key)
    index = bisect_left(cases, result.case_key)
    if index == len(cases) or cases[index] != result.case_key:
        return None
    ids = [result_id(run_key, case) for case in cases[max(0, index - 1) : index + 2]]
    previous = ids[0] if index > 0 else None
    following = ids[-1] if index + 1 < len(cases) else None
    return FailingNeighbors(previous, following, index + 1, len(cases))
