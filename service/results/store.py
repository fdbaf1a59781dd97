"""Insertion and replacement of results during ingest, with plain COPY."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, chain, islice
from operator import attrgetter, itemgetter
from struct import Struct, calcsize, pack
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from service.artifacts import store as artifacts_store
from service.database.database import JSONB_VERSION, Connection, Row
from service.database.statements import statements
from service.domain.ids import CaseKey, Fingerprint, OrgId, RunKey, completed_ms, completion_minute
from service.domain.statuses import STATUS_CODES, STATUS_NAMES, Counts
from service.failures.minutes import Minute, NewMinutes
from service.failures.model import summarize_failure
from service.results.model import (
    COLUMN_FORMATS,
    UNTIMED_EVENT_S,
    ArtifactReference,
    Attempt,
    CaseOutcome,
    MergedCase,
    MergeEffects,
    PartOutcomes,
    count,
    failing_attempt,
    merge_case,
    rank_file,
    rank_message,
    start_offset,
    started_ms,
)
from service.runs.model import PartNumbers
from service.runs.store import RunKeyRef
from service.tracing.spans import copy_span

_SQL: Final = statements("results")

_RUN_FORMATS: Final = {"org_id": "i", "run_key": "16s"}
COLUMNS: Final = (*_RUN_FORMATS, *COLUMN_FORMATS)
_DETAIL_COLUMNS: Final = (
    "org_id", "run_key", "case_key", "attempt", "is_last_attempt", "flaky", "status", "duration_ms",
    "started_offset_ms", "type", "message", "details", "summary", "logs_ref", "line",
    "properties", "fingerprint", "shard", "file",
)  # fmt: skip
_SHARD_COLUMNS: Final = ("org_id", "run_key", "case_key", "shard", "event_time_offset_s", "result")

# The binary COPY format. A row is the number of columns, then each value after its length in bytes. A row of
# shard_results ends with the length of the result.
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_RUN: Final = Struct(">h" + "".join(f"i{each}" for each in _RUN_FORMATS.values()))
_RESULT: Final = Struct(">" + "".join(f"i{each}" for each in COLUMN_FORMATS.values()))
_ROW_BYTES: Final = _RUN.size + _RESULT.size
_RUN_LENGTHS: Final = [calcsize(f">{each}") for each in _RUN_FORMATS.values()]
_RESULT_LENGTHS: Final = [calcsize(f">{each}") for each in COLUMN_FORMATS.values()]
_ENDS: Final = [
    _RUN.size + end for end in accumulate(length + 4 for length in _RESULT_LENGTHS)
]  # of the values in a row
_SHARD_ROW: Final = Struct(">h" + "iii16siqihiii")
_CHUNK: Final = 500  # rows that are encoded without an interruption

_INT_MAX: Final = 2**31 - 1
_PASSED: Final = STATUS_CODES["passed"]

# The other fields have the same value in a document. These ones are columns or are converted.
_OWN_FIELDS: Final = frozenset({"case_key", "part", "event_s", "started_ms", "attempts", "artifacts"})
_SAME_FIELDS: Final = tuple(name for name in CaseOutcome._fields if name not in _OWN_FIELDS)
_same_fields: Final = attrgetter(*_SAME_FIELDS)
_case_key: Final = itemgetter(CaseOutcome._fields.index("case_key"))

T = TypeVar("T")
RunRows = tuple[OrgId, RunKey, Sequence[CaseOutcome]]
OutcomesByPart = dict[int, CaseOutcome]


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
            await connection.copy_to_table("results", source=rows, columns=COLUMNS, format="binary")
    detailed = [run.with_details() for run in ordered]
    details = _detail_rows(detailed)
    while chunk := list(islice(details, _CHUNK)):
        with copy_span("result_details"):
            await connection.copy_records_to_table("result_details", records=chunk, columns=_DETAIL_COLUMNS)
    await minutes.insert(connection, map(_fingerprints, detailed))
    references = list(_reference_rows(ordered))
    if references:
        await connection.execute(_SQL["insert_references"], *map(list, zip(*references, strict=True)))


def _fingerprints(run: RunOutcomes) -> tuple[Minute, set[Fingerprint]]:
    """Return the minute of the run with the fingerprints of its failing results, which are in their last attempts."""
    found = {outcome.attempts[-1].fingerprint for outcome in run.outcomes}
    return (run.org_id, completion_minute(run.run_key)), {number for number in found if number is not None}


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
                    outcome.part if attempt.part is None else attempt.part, attempt.file,
                )  # fmt: skip


def _summary(attempt: Attempt, summarize: Callable[[str | None, str | None, str | None], str | None]) -> str | None:
    failure = attempt.type, attempt.message, attempt.details
    return summarize(*failure) if attempt.status != _PASSED and any(failure) else None


def _reference_rows(runs: Iterable[RunOutcomes]) -> Iterator[tuple[Any, ...]]:
    for org_id, run_key, outcomes in runs:
        for outcome in [outcome for outcome in outcomes if outcome.artifacts]:
            by_key = {artifact.key: artifact for artifact in outcome.artifacts}
            for key, artifact in by_key.items():
                yield (org_id, run_key, outcome.case_key, key, *artifact)


class MergedResults(NamedTuple):
    """The results to insert, the change of the counts of the run, and the effects of each part."""

    new: Sequence[CaseOutcome]
    change: Counts
    effects: Mapping[int, MergeEffects]


async def merge(connection: Connection, run: RunKeyRef, new: PartOutcomes, parts: PartNumbers) -> MergedResults:
    """Merge results into a stored run, but leave the insertion to the caller. The transaction must have locked the run.

    SQL (`rank`) ranks the cases that one part reports, and Python (`merge_case`) merges the cases of several parts.
    Reads only the rows of the given cases: a count of all results per event would be quadratic for a run that is sent
    in many events.
    """
    effects = {number: MergeEffects() for number in new}
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


def _rank_columns(run: RunKeyRef, new: PartOutcomes) -> Iterator[list[Any]]:
    base_ms = completed_ms(run.run_key)
    outcomes = [outcome for cases in new.values() for outcome in cases.values()]
    yield [outcome.case_key for outcome in outcomes]
    yield [outcome.part for outcome in outcomes]
    yield [event_offset(outcome.event_s, base_ms // 1000) for outcome in outcomes]
    yield [outcome.status for outcome in outcomes]
    yield [outcome.flaky for outcome in outcomes]
    yield [outcome.duration_ms for outcome in outcomes]
    yield [outcome.attempt_count for outcome in outcomes]
    yield [rank_message(outcome) for outcome in outcomes]
    yield [start_offset(outcome.started_ms, base_ms) for outcome in outcomes]
    yield [rank_file(outcome) for outcome in outcomes]


def _cases_of_several_parts(new: PartOutcomes) -> set[CaseKey]:
    seen: set[CaseKey] = set()
    repeated: set[CaseKey] = set()
    for cases in new.values() if len(new) > 1 else ():
        repeated |= seen & cases.keys()
        seen |= cases.keys()
    return repeated


def _of_case(new: PartOutcomes, case_key: CaseKey) -> dict[int, CaseOutcome]:
    return {number: cases[case_key] for number, cases in new.items() if case_key in cases}


async def find_stored(connection: Connection, run: RunKeyRef, rows: Sequence[Row]) -> dict[CaseKey, OutcomesByPart]:
    """Return the stored outcomes of cases by part. `rows` are those of the statement rank."""
    several = {row["case_key"] for row in rows if row["is_of_several"]}
    stored = await find(connection, run, list(several)) if several else {}
    single = {row["case_key"]: row for row in rows if row["status"] is not None and row["case_key"] not in several}
    for outcome in await complete(connection, run, list(single.values())) if single else ():
        stored[outcome.case_key] = {outcome.part: outcome}
    return stored


async def find(connection: Connection, run: RunKeyRef, case_keys: Sequence[CaseKey]) -> dict[CaseKey, OutcomesByPart]:
    """Return the stored outcomes of these cases by part. Several parts have reported each of them."""
    base_ms = completed_ms(run.run_key)
    found: dict[CaseKey, OutcomesByPart] = {}
    for row in await connection.fetch(_SQL["find"], *run, case_keys):
        document = row["result"]
        outcome = _outcome(base_ms, row, document, document["attempts"], document["artifacts"])
        found.setdefault(outcome.case_key, {})[outcome.part] = outcome
    return found


async def complete(connection: Connection, run: RunKeyRef, rows: Sequence[Row]) -> list[CaseOutcome]:
    """Return complete stored results, which only one part has reported. `rows` are those of the statement rank."""
    base_ms = completed_ms(run.run_key)
    detailed = [row["case_key"] for row in rows if row["has_details"]]
    attempts = _by_case(await connection.fetch(_SQL["find_attempts"], *run, detailed)) if detailed else {}
    case_keys = [row["case_key"] for row in rows]
    references = _by_case(await connection.fetch(_SQL["find_references"], *run, case_keys))
    return [_outcome(base_ms, row, row, attempts.get(row[0], ()), references.get(row[0], ())) for row in rows]


def _by_case(rows: Iterable[Row]) -> dict[CaseKey, list[dict[str, Any]]]:
    documents: dict[CaseKey, list[dict[str, Any]]] = {}
    for row in rows:
        fields = dict(row)
        documents.setdefault(fields.pop("case_key"), []).append(fields)
    return documents


async def _write_merged(
    connection: Connection, run: RunKeyRef, merged: Sequence[MergedCase], changes: _Changes
) -> None:
    """Write the outcomes by part, and add the new deciding outcomes to `changes`."""
    for case in merged:
        before = case.before
        if case.deciding != before:
            has_details = before is not None and bool(before.attempts or before.artifacts)
            changes.add(case.deciding, replaces=before is not None, has_details=has_details)
    await insert_by_part(connection, run, [outcome for case in merged for outcome in case.added])
    await replace(connection, run, [outcome for case in merged for outcome in case.corrected])


async def insert_by_part(connection: Connection, run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> None:
    """Insert the outcomes of cases and parts that aren't stored by part."""
    if outcomes:
        rows = _shard_copy_stream(run, sorted(outcomes, key=attrgetter("case_key", "part")))
        with copy_span("shard_results"):
            await connection.copy_to_table("shard_results", source=rows, columns=_SHARD_COLUMNS, format="binary")


async def replace(connection: Connection, run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> None:
    """Replace the stored outcomes of these cases and parts."""
    if outcomes:
        base_ms = completed_ms(run.run_key)
        rows = [(*_key(base_ms, outcome), _json(base_ms, outcome).decode()) for outcome in outcomes]
        await connection.execute(_SQL["replace"], *run, *map(list, zip(*rows, strict=True)))


async def _delete(connection: Connection, run: RunKeyRef, changes: _Changes) -> Counts:
    """Delete the replaced results with their details and references, and return the counts of the results."""
    rows = await connection.fetch(_SQL["delete_replaced"], *run, changes.replaced)
    if changes.detailed:
        await connection.execute(_SQL["delete_replaced_details"], *run, changes.detailed)
        files = await connection.fetch(_SQL["delete_replaced_references"], *run, changes.detailed, changes.corrected)
        await artifacts_store.delete_unused(connection, run, [row["path"] for row in files])
    by_status = {STATUS_NAMES[row["status"]]: row["results"] for row in rows}
    return Counts(**by_status, flaky=sum(row["flaky"] for row in rows))


async def _copy_stream(runs: Iterable[RunOutcomes]) -> AsyncIterator[bytes]:
    """Yield the input of COPY in chunks, between which the event loop can continue."""
    rows = HEADER
    for number, chunk in enumerate(_chunks(runs)):
        if number:
            yield rows
            rows = b""
            await asyncio.sleep(0)
        rows += pack_rows(chunk)
    yield rows + TRAILER


def _chunks(runs: Iterable[RunOutcomes]) -> Iterator[list[RunOutcomes]]:
    """Divide the outcomes into chunks of at least `_CHUNK` rows, except for the last, and less than twice as many."""
    chunk: list[RunOutcomes] = []
    size = 0
    for org_id, run_key, outcomes in runs:
        for start in range(0, len(outcomes), _CHUNK):
            chunk.append(RunOutcomes(org_id, run_key, outcomes[start : start + _CHUNK]))
            size += len(chunk[-1].outcomes)
            if size >= _CHUNK:
                yield chunk
                chunk, size = [], 0
    if chunk:
        yield chunk


def pack_rows(runs: Sequence[RunRows]) -> bytearray:
    """Return the encoded rows of the outcomes of several runs, in their order. At least one run has an outcome."""
    columns = _columns(runs)
    first = _RESULT.pack(*_with_lengths(_RESULT_LENGTHS, [column[0] for column in columns]))
    rows = bytearray().join(
        (_RUN.pack(len(COLUMNS), *_with_lengths(_RUN_LENGTHS, (org_id, run_key.bytes))) + first) * len(outcomes)
        for org_id, run_key, outcomes in runs
    )
    for column, column_format, length, end in zip(
        columns, COLUMN_FORMATS.values(), _RESULT_LENGTHS, _ENDS, strict=True
    ):
        if column.count(column[0]) != len(column):
            values = pack(f">{len(column)}{column_format}", *column)
            for byte in range(length):
                rows[end - length + byte :: _ROW_BYTES] = values[byte::length]
    return rows


def _columns(runs: Sequence[RunRows]) -> list[Sequence[Any]]:
    """Return the values of each column of a result."""
    fields = zip(*chain.from_iterable(outcomes for _, _, outcomes in runs), strict=True)
    columns: dict[str, Sequence[Any]] = dict(zip(COLUMN_FORMATS, fields, strict=False))  # without attempts and files
    starts: list[int] = []
    event_offsets: list[int] = []
    for _, run_key, outcomes in runs:
        base_ms = completed_ms(run_key)
        own = slice(len(starts), len(starts) + len(outcomes))
        starts += _convert(columns["started_offset_ms"][own], start_offset, base_ms)
        event_offsets += _convert(columns["event_time_offset_s"][own], event_offset, base_ms // 1000)
    columns["status"] = "".join(columns["status"]).encode()
    columns |= {"started_offset_ms": starts, "event_time_offset_s": event_offsets}
    return [*columns.values()]


def _convert(values: Sequence[T], function: Callable[[T, int], int], base: int) -> list[int]:
    """Return the results of the function. One call is sufficient for equal values."""
    if values and values.count(values[0]) == len(values):
        return [function(values[0], base)] * len(values)
    return [function(value, base) for value in values]


def _with_lengths(lengths: Sequence[int], values: Sequence[Any]) -> Iterator[Any]:
    return chain.from_iterable(zip(lengths, values, strict=True))


async def _shard_copy_stream(run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> AsyncIterator[bytes]:
    """Yield the input of COPY in chunks, between which the event loop can continue."""
    base_ms = completed_ms(run.run_key)
    yield HEADER
    for start in range(0, len(outcomes), _CHUNK):
        yield b"".join([_pack_shard_row(run, base_ms, outcome) for outcome in outcomes[start : start + _CHUNK]])
        await asyncio.sleep(0)
    yield TRAILER


def _pack_shard_row(run: RunKeyRef, base_ms: int, outcome: CaseOutcome) -> bytes:
    case_key, part, offset = _key(base_ms, outcome)
    result = JSONB_VERSION + _json(base_ms, outcome)
    run_key = run.run_key.bytes
    return _SHARD_ROW.pack(6, 4, run.org_id, 16, run_key, 8, case_key, 2, part, 4, offset, len(result)) + result


def _key(base_ms: int, outcome: CaseOutcome) -> tuple[CaseKey, int, int]:
    return outcome.case_key, outcome.part, event_offset(outcome.event_s, base_ms // 1000)


def _json(base_ms: int, outcome: CaseOutcome) -> bytes:
    """Return the fields that aren't columns, with the values and the order that other tables would have."""
    fields = dict(zip(_SAME_FIELDS, _same_fields(outcome), strict=True))
    fields["started_offset_ms"] = start_offset(outcome.started_ms, base_ms)
    fields["attempts"] = [_attempt_document(attempt, base_ms) for attempt in outcome.attempts]
    artifacts = {artifact.key: artifact for artifact in outcome.artifacts}
    fields["artifacts"] = [_reference_document(artifacts[key]) for key in sorted(artifacts)]
    return orjson.dumps(fields)


def _attempt_document(attempt: Attempt, base_ms: int) -> dict[str, Any]:
    fields = attempt._asdict()
    del fields["part"]
    return fields | {"started_offset_ms": start_offset(fields.pop("started_ms"), base_ms)}


def _reference_document(artifact: ArtifactReference) -> dict[str, Any]:
    return artifact._asdict() | {"sha256": artifact.sha256 and artifact.sha256.hex()}


def _outcome(
    base_ms: int, row: Row, fields: Mapping[str, Any] | Row, attempts: Iterable[Any], artifacts: Iterable[Any]
) -> CaseOutcome:
    """Return the outcome of a document or row. A field that an earlier version didn't write has its default."""
    return CaseOutcome(
        case_key=row["case_key"],
        started_ms=started_ms(fields["started_offset_ms"], base_ms),
        event_s=event_s(row["event_time_offset_s"], base_ms // 1000),
        part=row["shard"],
        attempts=tuple([_attempt(each, base_ms) for each in attempts]),
        artifacts=tuple([_reference(each) for each in artifacts]),
        **{name: fields[name] for name in _SAME_FIELDS if name in fields},
    )


def _attempt(fields: Mapping[str, Any], base_ms: int) -> Attempt:
    """Return the attempt of a document, which can contain unknown fields of a later version."""
    known = {name: value for name, value in fields.items() if name in Attempt._fields}
    return Attempt(**known | {"started_ms": started_ms(fields["started_offset_ms"], base_ms)})


def _reference(fields: Mapping[str, Any]) -> ArtifactReference:
    known = {name: value for name, value in fields.items() if name in ArtifactReference._fields}
    return ArtifactReference(**known | {"sha256": fields["sha256"] and bytes.fromhex(fields["sha256"])})


def event_offset(event_s: int, base_s: int) -> int:
    """Return the event time relative to the completion of the run.

    Clamped, so that results of a clock that is decades off can be stored. UNTIMED_EVENT_S is the least offset.
    """
    return max(-_INT_MAX, min(_INT_MAX, event_s - base_s))


def event_s(offset_s: int, base_s: int) -> int:
    """Return the event time of a stored result in s since 1970, or UNTIMED_EVENT_S."""
    return UNTIMED_EVENT_S if offset_s == -_INT_MAX else base_s + offset_s
