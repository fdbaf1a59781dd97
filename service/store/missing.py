"""The parts of a run and of its baseline, and the cases that the baseline executed and the run doesn't contain."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.missing import MAX_LISTED_CASES, ComparedPart
from service.domain.variants import canonical_variant
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


async def find_parts(connection: Connection, keys: ComparedKeys, window: Sequence[RunKey]) -> list[ComparedPart]:
    """Return the parts of the run and of its baseline, which is in the window. A run of an earlier version has none.

    PostgreSQL counts the runs, because the runs of a window can have hundreds of thousands of parts and attempts.
    """
    rows = await connection.fetch(_SQL["find_compared_parts"], *keys, window)
    return [
        ComparedPart(
            (row["name"], canonical_variant(row["variant"]), row["shard"]),
            row["runs"],
            row["is_accepted"],
            row["numbers"],
        )
        for row in rows
    ]


async def find_removed(connection: Connection, keys: ComparedKeys) -> list[RemovedCases]:
    """Return the cases that the baseline executed and the run doesn't contain."""
    rows = await connection.fetch(_SQL["find_removed_cases"], *keys, MAX_LISTED_CASES)
    return [RemovedCases(frozenset(numbers), cases, first) for numbers, cases, first in rows]
