"""Insertion and replacement of results during ingest, with plain COPY."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from service.domain.failures import summarize_failure
from service.domain.ids import CaseKey, Fingerprint, OrgId, RunKey, completed_ms, completion_minute
from service.domain.parts import PartNumbers
from service.domain.results import Attempt, CaseOutcome, count, failing_attempt, rank_file, rank_message
from service.domain.shards import MergedCase, MergeEffects, ShardOutcomes, merge_case
from service.domain.statuses import STATUS_CODES, STATUS_NAMES, Counts
from service.store import artifacts, result_rows, shard_results
from service.store.failure_groups import Minute, NewMinutes
from service.store.postgres.database import Connection, Row
from service.store.postgres.statements import statements
from service.store.result_rows import event_offset, pack_rows, start_offset
from service.store.runs import RunKeyRef
from service.tracing.spans import copy_span

_SQL: Final = statements("results")

_PASSED: Final = STATUS_CODES["passed"]
_case_key: Final = itemgetter(CaseOutcome._fields.index("case_key"))
_PART: Final = 500  # rows that are encoded without an interruption
_DETAIL_COLUMNS: Final = (
    "org_id", "run_key", "case_key", "attempt", "is_last_attempt", "flaky", "status", "duration_ms",
    "started_offset_ms", "type", "message", "details", "summary", "logs_ref", "line",
    "properties", "fingerprint", "shard", "file",
)  # fmt: skip


class RunOutcomes(NamedTuple):
    """The outcomes of one run to store."""

    org_id: OrgId
    run_key: RunKey
    outcomes: Sequence[CaseOutcome]

    def sorted(self) -> "RunOutcomes":
        """Sort by key, which makes the updates of the primary key index sequential."""
        return self._replace(outcomes=sorted(self.outcomes, key=_case_key))

    def with_details(self) -> "RunOutcomes":
        """Return only the outcomes that have rows in result_details."""
        return self._replace(outcomes=[outcome for outcome in self.outcomes if outcome.attempts])


async def insert(connection: Connection, runs: Iterable[RunOutcomes], minutes: NewMinutes) -> None:
    """Insert results that aren't stored yet, with their details, artifacts, and failure groups, sorted by key."""
    ordered = [run.sorted() for run in sorted(runs, key=lambda run: (run.org_id, run.run_key))]
    if any(run.outcomes for run in ordered):
        rows = _copy_stream(ordered)
        with copy_span("results"):
            await connection.copy_to_table("results", source=rows, columns=result_rows.COLUMNS, format="binary")
    detailed = [run.with_details() for run in ordered]
    details = _detail_rows(detailed)
    while part := list(islice(details, _PART)):
        with copy_span("result_details"):
            await connection.copy_records_to_table("result_details", records=part, columns=_DETAIL_COLUMNS)
    await minutes.insert(connection, map(_fingerprints, detailed))
    references = list(_reference_rows(ordered))
    if references:
        await connection.execute(_SQL["insert_references"], *map(list, zip(*references, strict=True)))


class MergedResults(NamedTuple):
    """The results to insert, the change of the counts of the run, and the effects of each part."""

    new: Sequence[CaseOutcome]
    change: Counts
    effects: Mapping[int, MergeEffects]


async def merge(connection: Connection, run: RunKeyRef, new: ShardOutcomes, parts: PartNumbers) -> MergedResults:
    """Merge results into a stored run, but leave the insertion to the caller. The transaction must have locked the run.

    Reads only the rows of the given cases: a count of all results per event would be quadratic for a run that is sent
    in many events.
    """
    effects = {shard: MergeEffects() for shard in new}
    changes = _Changes()
    rows = await connection.fetch(_SQL["rank"], *run, *_rank_columns(run, new))
    shared = _cases_of_several_parts(new) | {row["case_key"] for row in rows if row["is_combined"]}
    for row in rows:
        if row["case_key"] not in shared:
            changes.add(new[row["new_shard"]][row["case_key"]], replaces=row["status"] is not None)
            if row["status"] is not None:
                changes.corrected.append(row["case_key"])
                effects[row["new_shard"]].add_replaced(row["case_key"], row["status"])
    if shared:
        stored = await find_stored(connection, run, [row for row in rows if row["case_key"] in shared])
        merged = [merge_case(stored.get(key, {}), _of_case(new, key), effects, parts) for key in sorted(shared)]
        await _write_merged(connection, run, merged, changes)
    removed = await _delete(connection, run, changes) if changes.replaced else Counts()
    return MergedResults(changes.stored, count(changes.stored).subtract(removed), effects)


@dataclass(slots=True)
class _Changes:
    """The results to write: the outcomes to store, and the cases whose stored results they replace."""

    stored: list[CaseOutcome] = field(default_factory=list)
    replaced: list[CaseKey] = field(default_factory=list)
    detailed: list[CaseKey] = field(default_factory=list)  # replaced ones that can have details or references
    corrected: list[CaseKey] = field(default_factory=list)  # replaced ones that only one part has reported

    def add(self, outcome: CaseOutcome, *, replaces: bool, has_details: bool = True) -> None:
        self.stored.append(outcome)
        if replaces:
            self.replaced.append(outcome.case_key)
            if has_details:
                self.detailed.append(outcome.case_key)


def _cases_of_several_parts(new: ShardOutcomes) -> set[CaseKey]:
    seen: set[CaseKey] = set()
    repeated: set[CaseKey] = set()
    for cases in new.values() if len(new) > 1 else ():
        repeated |= seen & cases.keys()
        seen |= cases.keys()
    return repeated


async def find_stored(
    connection: Connection, run: RunKeyRef, rows: Sequence[Row]
) -> dict[CaseKey, shard_results.OutcomesOfShards]:
    """Return the stored outcomes of cases by part. `rows` are those of the statement rank."""
    several = {row["case_key"] for row in rows if row["is_of_several"]}
    stored = await shard_results.find(connection, run, list(several)) if several else {}
    single = {row["case_key"]: row for row in rows if row["status"] is not None and row["case_key"] not in several}
    for outcome in await shard_results.complete(connection, run, list(single.values())) if single else ():
        stored[outcome.case_key] = {outcome.shard: outcome}
    return stored


def _of_case(new: ShardOutcomes, case_key: CaseKey) -> dict[int, CaseOutcome]:
    return {number: cases[case_key] for number, cases in new.items() if case_key in cases}


async def _write_merged(
    connection: Connection, run: RunKeyRef, merged: Sequence[MergedCase], changes: _Changes
) -> None:
    """Write the outcomes by part, and add the new deciding outcomes to `changes`."""
    for case in merged:
        before = case.before
        if case.deciding != before:
            has_details = before is not None and bool(before.attempts or before.artifacts)
            changes.add(case.deciding, replaces=before is not None, has_details=has_details)
    await shard_results.insert(connection, run, [outcome for case in merged for outcome in case.added])
    await shard_results.replace(connection, run, [outcome for case in merged for outcome in case.corrected])


async def _delete(connection: Connection, run: RunKeyRef, changes: _Changes) -> Counts:
    """Delete the replaced results with their details and references, and return the counts of the results."""
    rows = await connection.fetch(_SQL["delete_replaced"], *run, changes.replaced)
    if changes.detailed:
        await connection.execute(_SQL["delete_replaced_details"], *run, changes.detailed)
        files = await connection.fetch(_SQL["delete_replaced_references"], *run, changes.detailed, changes.corrected)
        await artifacts.delete_unused(connection, run, [row["path"] for row in files])
    by_status = {STATUS_NAMES[row["status"]]: row["results"] for row in rows}
    return Counts(**by_status, flaky=sum(row["flaky"] for row in rows))


async def _copy_stream(runs: Iterable[RunOutcomes]) -> AsyncIterator[bytes]:
    """Yield the input of COPY in parts, between which the event loop can continue."""
    rows = result_rows.HEADER
    for number, part in enumerate(_parts(runs)):
        if number:
            yield rows
            rows = b""
            await asyncio.sleep(0)
        rows += pack_rows(part)
    yield rows + result_rows.TRAILER


def _parts(runs: Iterable[RunOutcomes]) -> Iterator[list[RunOutcomes]]:
    """Divide the outcomes into parts of at least `_PART` rows, except for the last, and less than twice as many."""
    part: list[RunOutcomes] = []
    size = 0
    for org_id, run_key, outcomes in runs:
        for start in range(0, len(outcomes), _PART):
            part.append(RunOutcomes(org_id, run_key, outcomes[start : start + _PART]))
            size += len(part[-1].outcomes)
            if size >= _PART:
                yield part
                part, size = [], 0
    if part:
        yield part


def _rank_columns(run: RunKeyRef, new: ShardOutcomes) -> Iterator[list[Any]]:
    base_ms = completed_ms(run.run_key)
    outcomes = [outcome for cases in new.values() for outcome in cases.values()]
    yield [outcome.case_key for outcome in outcomes]
    yield [outcome.shard for outcome in outcomes]
    yield [event_offset(outcome.event_s, base_ms // 1000) for outcome in outcomes]
    yield [outcome.status for outcome in outcomes]
    yield [outcome.flaky for outcome in outcomes]
    yield [outcome.duration_ms for outcome in outcomes]
    yield [outcome.attempt_count for outcome in outcomes]
    yield [rank_message(outcome) for outcome in outcomes]
    yield [start_offset(outcome.started_ms, base_ms) for outcome in outcomes]
    yield [rank_file(outcome) for outcome in outcomes]


def _detail_rows(runs: Iterable[RunOutcomes]) -> Iterator[tuple[Any, ...]]:
    summarize = cache(summarize_failure)  # many results of a batch have the same failure
    for org_id, run_key, outcomes in runs:
        base_ms = completed_ms(run_key)
        for outcome in outcomes:
            unlisted = outcome.attempt_count - len(outcome.attempts)
            flaky_index = failing_attempt(outcome)
            for index, attempt in enumerate(outcome.attempts):
                number = unlisted + index + 1
                is_last, is_flaky = number == outcome.attempt_count, index == flaky_index
                yield (
                    org_id, run_key, outcome.case_key, number, is_last, is_flaky,
                    attempt.status.encode(), attempt.duration_ms, start_offset(attempt.started_ms, base_ms),
                    attempt.type, attempt.message, attempt.details,
                    _summary(attempt, summarize) if is_last or is_flaky else None, attempt.logs_ref,
                    attempt.line, attempt.properties, attempt.fingerprint,
                    outcome.shard if attempt.part is None else attempt.part, attempt.file,
                )  # fmt: skip


def _fingerprints(run: RunOutcomes) -> tuple[Minute, set[Fingerprint]]:
    """Return the minute of the run with the fingerprints of its failing results, which are in their last attempts."""
    found = {outcome.attempts[-1].fingerprint for outcome in run.outcomes}
    return (run.org_id, completion_minute(run.run_key)), {number for number in found if number is not None}


def _summary(attempt: Attempt, summarize: Callable[[str | None, str | None, str | None], str | None]) -> str | None:
    failure = attempt.type, attempt.message, attempt.details
    return summarize(*failure) if attempt.status != _PASSED and any(failure) else None


def _reference_rows(runs: Iterable[RunOutcomes]) -> Iterator[tuple[Any, ...]]:
    for org_id, run_key, outcomes in runs:
        for outcome in [outcome for outcome in outcomes if outcome.artifacts]:
            by_key = {artifact.key: artifact for artifact in outcome.artifacts}
            for key, artifact in by_key.items():
                yield (org_id, run_key, outcome.case_key, key, *artifact)
