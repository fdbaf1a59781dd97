"""The newest result of each shard, for cases that several shards of a run reported."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from service.domain.ids import CaseKey, artifact_key, completed_ms
from service.domain.results import ArtifactReference, Attempt, CaseOutcome
from service.store.postgres.database import Connection, Row
from service.store.postgres.statements import statements
from service.store.result_rows import int32, start_offset, started_ms
from service.store.runs import RunKeyRef

_SQL: Final = statements("shard_results")

_ROW_FIELDS: Final = ("case_key", "shard", "event_s")  # of CaseOutcome: columns that aren't in the document
_ROW_COLUMNS: Final = ("case_key", "shard", "event_time_offset_s")

OutcomesOfShards = dict[int, CaseOutcome]


async def find(connection: Connection, run: RunKeyRef, case_keys: Sequence[CaseKey]) -> dict[CaseKey, OutcomesOfShards]:
    """Return the stored outcomes of these cases by shard.

    If only one shard has reported a case, its outcome is the stored result.
    """
    found: dict[CaseKey, OutcomesOfShards] = {}
    for row in await connection.fetch(_SQL["find"], *run, case_keys):
        found.setdefault(row["case_key"], {})[row["shard"]] = _outcome(run, row, row["result"])
    single = [case_key for case_key in case_keys if case_key not in found]
    for outcome in await _find_deciding(connection, run, single) if single else ():
        found[outcome.case_key] = {outcome.shard: outcome}
    return found


async def write(connection: Connection, run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> None:
    """Insert or replace the outcomes of these cases and shards."""
    if outcomes:
        rows = [_row(run, outcome) for outcome in outcomes]
        await connection.execute(_SQL["write"], *run, *map(list, zip(*rows, strict=True)))


async def _find_deciding(connection: Connection, run: RunKeyRef, case_keys: Sequence[CaseKey]) -> list[CaseOutcome]:
    """Return complete stored results."""
    attempts = _by_case(await connection.fetch(_SQL["find_attempts"], *run, case_keys))
    references = _by_case(await connection.fetch(_SQL["find_references"], *run, case_keys))
    outcomes = []
    for row in await connection.fetch(_SQL["find_deciding"], *run, case_keys):
        document = {name: value for name, value in row.items() if name not in _ROW_COLUMNS}
        parts = {"attempts": attempts.get(row["case_key"], []), "artifacts": references.get(row["case_key"], [])}
        outcomes.append(_outcome(run, row, document | parts))
    return outcomes


def _by_case(rows: Iterable[Row]) -> dict[CaseKey, list[dict[str, Any]]]:
    documents: dict[CaseKey, list[dict[str, Any]]] = {}
    for row in rows:
        fields = dict(row)
        documents.setdefault(fields.pop("case_key"), []).append(fields)
    return documents


def _row(run: RunKeyRef, outcome: CaseOutcome) -> tuple[Any, ...]:
    base_ms = completed_ms(run.run_key)
    event_offset = int32(outcome.event_s - base_ms // 1000)
    document = orjson.dumps(_document(outcome, base_ms)).decode()
    return outcome.case_key, outcome.shard, event_offset, document


def _document(outcome: CaseOutcome, base_ms: int) -> dict[str, Any]:
    """Return the fields that aren't columns, with the values and the order that other tables would have."""
    fields = {name: value for name, value in _relative(outcome, base_ms).items() if name not in _ROW_FIELDS}
    artifacts = {artifact_key(artifact.name): artifact for artifact in outcome.artifacts}
    return fields | {
        "attempts": [_relative(attempt, base_ms) for attempt in outcome.attempts],
        "artifacts": [_reference_document(artifacts[key]) for key in sorted(artifacts)],
    }


def _outcome(run: RunKeyRef, row: Row, document: Mapping[str, Any]) -> CaseOutcome:
    base_ms = completed_ms(run.run_key)
    fields = _absolute(document, base_ms, CaseOutcome._fields) | {
        "case_key": row["case_key"],
        "shard": row["shard"],
        "event_s": base_ms // 1000 + row["event_time_offset_s"],
        "attempts": tuple(Attempt(**_absolute(each, base_ms, Attempt._fields)) for each in document["attempts"]),
        "artifacts": tuple(map(_reference, document["artifacts"])),
    }
    return CaseOutcome(**fields)


def _relative(timed: CaseOutcome | Attempt, base_ms: int) -> dict[str, Any]:
    fields = timed._asdict()
    return fields | {"started_offset_ms": start_offset(fields.pop("started_ms"), base_ms)}


def _absolute(fields: Mapping[str, Any], base_ms: int, known: Collection[str]) -> dict[str, Any]:
    """Return the known fields. A document of a later version can contain others."""
    timed = {name: value for name, value in fields.items() if name in known}
    return timed | {"started_ms": started_ms(fields["started_offset_ms"], base_ms)}


def _reference_document(artifact: ArtifactReference) -> dict[str, Any]:
    return artifact._asdict() | {"sha256": artifact.sha256 and artifact.sha256.hex()}


def _reference(fields: Mapping[str, Any]) -> ArtifactReference:
    known = {name: value for name, value in fields.items() if name in ArtifactReference._fields}
    return ArtifactReference(**known | {"sha256": fields["sha256"] and bytes.fromhex(fields["sha256"])})
