"""The newest result of each part, for cases that several parts of a run reported."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from operator import attrgetter
from struct import Struct
from typing import Any, Final

import orjson

from service.domain.ids import CaseKey, completed_ms
from service.domain.results import ArtifactReference, Attempt, CaseOutcome
from service.store.postgres.database import Connection, Row
from service.store.postgres.statements import statements
from service.store.result_rows import HEADER, TRAILER, event_offset, event_s, start_offset, started_ms
from service.store.runs import RunKeyRef
from service.tracing.spans import copy_span

_SQL: Final = statements("shard_results")

_COLUMNS: Final = ("org_id", "run_key", "case_key", "shard", "event_time_offset_s", "result")
# A row of the binary COPY format: the number of columns, each value after its length, and the length of the result.
_ROW: Final = Struct(">h" + "iii16siqihiii")
_PART: Final = 500  # rows that are encoded without an interruption
_JSONB_VERSION: Final = b"\x01"
# The other fields have the same value in a document. These ones are columns or are converted.
_OWN_FIELDS: Final = frozenset({"case_key", "shard", "event_s", "started_ms", "attempts", "artifacts"})
_SAME_FIELDS: Final = tuple(name for name in CaseOutcome._fields if name not in _OWN_FIELDS)
_same_fields: Final = attrgetter(*_SAME_FIELDS)

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
        rows = _copy_stream(run, sorted(outcomes, key=attrgetter("case_key", "shard")))
        with copy_span("shard_results"):
            await connection.copy_to_table("shard_results", source=rows, columns=_COLUMNS, format="binary")


async def replace(connection: Connection, run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> None:
    """Replace the stored outcomes of these cases and parts."""
    if outcomes:
        base_ms = completed_ms(run.run_key)
        rows = [(*_key(base_ms, outcome), _json(base_ms, outcome).decode()) for outcome in outcomes]
        await connection.execute(_SQL["replace"], *run, *map(list, zip(*rows, strict=True)))


def _by_case(rows: Iterable[Row]) -> dict[CaseKey, list[dict[str, Any]]]:
    documents: dict[CaseKey, list[dict[str, Any]]] = {}
    for row in rows:
        fields = dict(row)
        documents.setdefault(fields.pop("case_key"), []).append(fields)
    return documents


async def _copy_stream(run: RunKeyRef, outcomes: Sequence[CaseOutcome]) -> AsyncIterator[bytes]:
    """Yield the input of COPY in parts, between which the event loop can continue."""
    base_ms = completed_ms(run.run_key)
    yield HEADER
    for start in range(0, len(outcomes), _PART):
        yield b"".join([_pack(run, base_ms, outcome) for outcome in outcomes[start : start + _PART]])
        await asyncio.sleep(0)
    yield TRAILER


def _pack(run: RunKeyRef, base_ms: int, outcome: CaseOutcome) -> bytes:
    case_key, shard, offset = _key(base_ms, outcome)
    result = _JSONB_VERSION + _json(base_ms, outcome)
    run_key = run.run_key.bytes
    return _ROW.pack(6, 4, run.org_id, 16, run_key, 8, case_key, 2, shard, 4, offset, len(result)) + result


def _key(base_ms: int, outcome: CaseOutcome) -> tuple[CaseKey, int, int]:
    return outcome.case_key, outcome.shard, event_offset(outcome.event_s, base_ms // 1000)


def _json(base_ms: int, outcome: CaseOutcome) -> bytes:
    """Return the fields that aren't columns, with the values and the order that other tables would have."""
    fields = dict(zip(_SAME_FIELDS, _same_fields(outcome), strict=True))
    fields["started_offset_ms"] = start_offset(outcome.started_ms, base_ms)
    fields["attempts"] = [_attempt_document(attempt, base_ms) for attempt in outcome.attempts]
    artifacts = {artifact.key: artifact for artifact in outcome.artifacts}
    fields["artifacts"] = [_reference_document(artifacts[key]) for key in sorted(artifacts)]
    return orjson.dumps(fields)


def _outcome(
    base_ms: int, row: Row, fields: Mapping[str, Any] | Row, attempts: Iterable[Any], artifacts: Iterable[Any]
) -> CaseOutcome:
    """Return the outcome of a document or row. A field that an earlier version didn't write has its default."""
    return CaseOutcome(
        case_key=row["case_key"],
        started_ms=started_ms(fields["started_offset_ms"], base_ms),
        event_s=event_s(row["event_time_offset_s"], base_ms // 1000),
        shard=row["shard"],
        attempts=tuple([_attempt(each, base_ms) for each in attempts]),
        artifacts=tuple([_reference(each) for each in artifacts]),
        **{name: fields[name] for name in _SAME_FIELDS if name in fields},
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
