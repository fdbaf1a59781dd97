"""Insertion and replacement of results during ingest, with plain COPY."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, RunKey, artifact_key, completed_ms
from service.domain.results import CaseOutcome, count, failing_attempt, precedence
from service.domain.statuses import STATUS_NAMES, Counts
from service.store import result_rows
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.result_rows import int32, pack_rows, start_offset

_SQL: Final = statements("results")

_PART: Final = 5_000  # rows that are encoded without an interruption
_DETAIL_COLUMNS: Final = (
    "org_id", "run_key", "case_key", "attempt", "is_last_attempt", "flaky", "status", "duration_ms",
    "started_offset_ms", "type", "message", "details", "logs_ref",
)  # fmt: skip


class RunOutcomes(NamedTuple):
    """The outcomes of one run to store."""

    org_id: OrgId
    run_key: RunKey
    outcomes: Sequence[CaseOutcome]

    def sorted(self) -> "RunOutcomes":
        """Sort by key, which makes the updates of the primary key index sequential."""
        return self._replace(outcomes=sorted(self.outcomes, key=attrgetter("case_key")))

    def only(self, case_keys: Iterable[CaseKey]) -> "RunOutcomes":
        """Return the outcomes of these cases."""
        selected = set(case_keys)
        return self._replace(outcomes=[outcome for outcome in self.outcomes if outcome.case_key in selected])


async def insert(connection: Connection, runs: Iterable[RunOutcomes]) -> None:
    """Insert results that aren't stored yet, with their details and artifacts, sorted by key."""
    ordered = [run.sorted() for run in sorted(runs, key=lambda run: (run.org_id, run.run_key))]
    if any(run.outcomes for run in ordered):
        rows = _copy_stream(ordered)
        await connection.copy_to_table("results", source=rows, columns=result_rows.COLUMNS, format="binary")
    details = _detail_rows(ordered)
    while part := list(islice(details, _PART)):
        await connection.copy_records_to_table("result_details", records=part, columns=_DETAIL_COLUMNS)
    references = list(_reference_rows(ordered))
    if references:
        await connection.execute(_SQL["insert_references"], *map(list, zip(*references, strict=True)))


class MergedResults(NamedTuple):
    """The number of results that a merge stored, and the change of the counts of the run."""

    stored: int
    change: Counts


async def replace_older(connection: Connection, run: RunOutcomes) -> MergedResults:
    """Merge results into a run. The transaction must have locked the run.

    Reads only the rows of the given cases: a count of all results per event would be quadratic for a run that is sent
    in many events.
    """
    rows = await connection.fetch(_SQL["find_winners"], *_winner_columns(run))
    replaced = [row["case_key"] for row in rows if row["replaces"]]
    removed = await _delete(connection, run, replaced) if replaced else Counts()
    winners = run.only(row["case_key"] for row in rows)
    await insert(connection, [winners])
    return MergedResults(len(winners.outcomes), count(winners.outcomes).subtract(removed))


async def _delete(connection: Connection, run: RunOutcomes, case_keys: Sequence[CaseKey]) -> Counts:
    """Delete the results of these cases with their details and references, and return the counts of the results."""
    rows = await connection.fetch(_SQL["delete_replaced"], run.org_id, run.run_key, case_keys)
    for statement in ("delete_replaced_details", "delete_replaced_references"):
        await connection.execute(_SQL[statement], run.org_id, run.run_key, case_keys)
    by_status = {STATUS_NAMES[row["status"]]: row["results"] for row in rows}
    return Counts(**by_status, flaky=sum(row["flaky"] for row in rows))


async def _copy_stream(runs: Iterable[RunOutcomes]) -> AsyncIterator[bytes]:
    """Yield the input of COPY in parts, between which the event loop can continue."""
    parts = [result_rows.HEADER]
    for run in runs:
        for start in range(0, len(run.outcomes), _PART):
            if start:
                yield b"".join(parts)
                parts = []
                await asyncio.sleep(0)
            parts.append(pack_rows(run.org_id, run.run_key, run.outcomes[start : start + _PART]))
    yield b"".join((*parts, result_rows.TRAILER))


def _winner_columns(run: RunOutcomes) -> Iterator[list[Any]]:
    base_s = completed_ms(run.run_key) // 1000
    ranks = [precedence(outcome) for outcome in run.outcomes]
    yield [run.org_id] * len(ranks)
    yield [run.run_key] * len(ranks)
    yield [outcome.case_key for outcome in run.outcomes]
    yield [int32(rank[0] - base_s) for rank in ranks]
    yield [outcome.status for outcome in run.outcomes]
    yield [outcome.duration_ms for outcome in run.outcomes]
    yield [outcome.attempt_count for outcome in run.outcomes]
    yield [rank[-1] for rank in ranks]


def _detail_rows(runs: Iterable[RunOutcomes]) -> Iterator[tuple[Any, ...]]:
    for org_id, run_key, outcomes in runs:
        base_ms = completed_ms(run_key)
        for outcome in [outcome for outcome in outcomes if outcome.attempts]:
            unlisted = outcome.attempt_count - len(outcome.attempts)
            flaky_index = failing_attempt(outcome)
            for index, attempt in enumerate(outcome.attempts):
                number = unlisted + index + 1
                yield (
                    org_id, run_key, outcome.case_key, number, number == outcome.attempt_count, index == flaky_index,
                    attempt.status.encode(), attempt.duration_ms, start_offset(attempt.started_ms, base_ms),
                    attempt.type, attempt.message, attempt.details, attempt.logs_ref,
                )  # fmt: skip


def _reference_rows(runs: Iterable[RunOutcomes]) -> Iterator[tuple[Any, ...]]:
    for org_id, run_key, outcomes in runs:
        for outcome in [outcome for outcome in outcomes if outcome.artifacts]:
            by_key = {artifact_key(artifact.name): artifact for artifact in outcome.artifacts}
            for key, artifact in by_key.items():
                yield (org_id, run_key, outcome.case_key, key, *artifact)
