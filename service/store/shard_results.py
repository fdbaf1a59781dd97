"""The newest result of each part, for cases that several parts of a run reported."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from service.domain.ids import CaseKey, artifact_key, completed_ms
from service.domain.results import ArtifactReference, Attempt, CaseOutcome
from service.store.postgres.database import Connection, Row
from service.store.postgres.statements import statements
from service.store.result_rows import event_offset, event_s, start_offset, started_ms
from service.store.runs import RunKeyRef
from service.tracing.spans import copy_span

_SQL: Final = statements("shard_results")

_COLUMNS: Final = ("org_id", "run_key", "case_key", "shard", "event_time_offset_s", "result")

OutcomesOfShards = dict[int, CaseOutcome]


async def find(connection: Connection, run: RunKeyRef, case_keys: Sequence[CaseKey]) -> dict[CaseKey, OutcomesOfShards]:
    """Return the stored outcomes of these cases by part. Several parts have reported each of them."""
    base_ms = completed_ms(run.run_key)
    found: dict[CaseKey, OutcomesOfShards] = {}
    for row in await connection.fetch(_SQL["find"], *run, case_keys):
        document = row["result"]
        outcome = _outcome(base_ms, row, document, document["attempts"], document["artifacts"])
        found.setdefault(outcome.case_key, {})[outcome.shard] = outcome
    return found


async def complete(connection: Connection, run: RunKeyRef, rows: Sequence[Row]) -> list[CaseOutcome]:
    """Return complete stored results, which only one part has reported. `rows` are those of the statement rank."""
    base_ms = completed_ms(run.run_key)
    detailed = [row["case_key"] for row in rows if row["has_details"]]
    attempts = _by_case(await connection.fetch(_SQL["find_attempts"], *run, detailed)) if detailed else {}
    case_keys = [row["case_key"] for row in rows]
    references = _by_case(await connection.fetch(_SQL["find_references"], *run, case_keys))
    return [_outcome(base_ms, row, row, attempts.get(row[0], ()), references.get(row[0], ())) for row in rows]


async def insert(connection: Connection, run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> None:
    """Insert the outcomes of cases and parts that aren't stored by part."""
    if outcomes:
        base_ms = completed_ms(run.run_key)
        ordered = sorted(outcomes, key=lambda outcome: (outcome.case_key, outcome.shard))
        records = [(*run, *_row(base_ms, outcome)) for outcome in ordered]
        with copy_span("shard_results"):
            await connection.copy_records_to_table("shard_results", records=records, columns=_COLUMNS)


async def replace(connection: Connection, run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> None:
    """Replace the stored outcomes of these cases and parts."""
    if outcomes:
        base_ms = completed_ms(run.run_key)
        rows = [_row(base_ms, outcome) for outcome in outcomes]
        texts = [(*row[:-1], orjson.dumps(row[-1]).decode()) for row in rows]
        await connection.execute(_SQL["replace"], *run, *map(list, zip(*texts, strict=True)))


def _by_case(rows: Iterable[Row]) -> dict[CaseKey, list[dict[str, Any]]]:
    documents: dict[CaseKey, list[dict[str, Any]]] = {}
    for row in rows:
        fields = dict(row)
        documents.setdefault(fields.pop("case_key"), []).append(fields)
    return documents


def _row(base_ms: int, outcome: CaseOutcome) -> tuple[Any, ...]:
    offset = event_offset(outcome.event_s, base_ms // 1000)
    return outcome.case_key, outcome.shard, offset, _document(outcome, base_ms)


def _document(outcome: CaseOutcome, base_ms: int) -> dict[str, Any]:
    """Return the fields that aren't columns, with the values and the order that other tables would have."""
    artifacts = {artifact_key(artifact.name): artifact for artifact in outcome.artifacts}
    return {
        "status": outcome.status,
        "duration_ms": outcome.duration_ms,
        "started_offset_ms": start_offset(outcome.started_ms, base_ms),
        "attempt_count": outcome.attempt_count,
        "flaky": outcome.flaky,
        "attempts": [_attempt_document(attempt, base_ms) for attempt in outcome.attempts],
        "artifacts": [_reference_document(artifacts[key]) for key in sorted(artifacts)],
    }


def _outcome(
    base_ms: int, row: Row, fields: Mapping[str, Any] | Row, attempts: Iterable[Any], artifacts: Iterable[Any]
) -> CaseOutcome:
    return CaseOutcome(
        CaseKey(row["case_key"]),
        fields["status"],
        fields["duration_ms"],
        started_ms(fields["started_offset_ms"], base_ms),
        event_s(row["event_time_offset_s"], base_ms // 1000),
        fields["attempt_count"],
        fields["flaky"],
        row["shard"],
        tuple(_attempt(each, base_ms) for each in attempts),
        tuple(map(_reference, artifacts)),
    )


def _attempt_document(attempt: Attempt, base_ms: int) -> dict[str, Any]:
    fields = attempt._asdict()
    del fields["part"]
    return fields | {"started_offset_ms": start_offset(fields.pop("started_ms"), base_ms)}


def _attempt(fields: Mapping[str, Any], base_ms: int) -> Attempt:
    """Return the attempt of a document, which can contain unknown fields of a later version."""
    known = {name: value for name, value in fields.items() if name in Attempt._fields}
    return Attempt(**known | {"started_ms": started_ms(fields["started_offset_ms"], base_ms)})


def _reference_document(artifact: ArtifactReference) -> dict[str, Any]:
    return artifact._asdict() | {"sha256": artifact.sha256 and artifact.sha256.hex()}


def _reference(fields: Mapping[str, Any]) -> ArtifactReference:
    known = {name: value for name, value in fields.items() if name in ArtifactReference._fields}
    return ArtifactReference(**known | {"sha256": fields["sha256"] and bytes.fromhex(fields["sha256"])})
