"""The cases that a baseline executed and a run doesn't contain, by the parts that executed them."""

from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.missing import MAX_LISTED_CASES
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("missing")


class ComparedKeys(NamedTuple):
    """A run and its baseline."""

    org_id: OrgId
    run_key: RunKey
    baseline_key: RunKey


class RemovedCases(NamedTuple):
    """Removed cases that the same parts executed: the numbers of the parts, and the first cases by key."""

    numbers: frozenset[int]
    cases: int
    first: list[CaseKey]


async def find_removed(connection: Connection, keys: ComparedKeys) -> list[RemovedCases]:
    """Return the cases that the baseline executed and the run doesn't contain."""
    rows = await connection.fetch(_SQL["find_removed_cases"], *keys, MAX_LISTED_CASES)
    return [RemovedCases(frozenset(numbers), cases, first) for numbers, cases, first in rows]
