"""Runs as ingest writes them: inserted where new, locked and merged into where known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import orjson

from service.domain import runs
from service.domain.ids import OrgId, RunKey, run_key
from service.domain.results import Counts
from service.domain.runs import RunState
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("runs")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_DESCRIBING: Final = ("environment", "branch", "commit_sha", "ci_url", "labels")

RunRef = tuple[OrgId, str]  # organization, run_id


@dataclass(slots=True)
class StoredRun:
    """A run and its row: the key that it is known by, how far it has come."""

    org_id: OrgId
    key: RunKey
    state: RunState
    counts: Counts
    revision: int = 1
    results_expired: bool = False

    @classmethod
    def new(cls, org_id: OrgId, state: RunState, counts: Counts) -> "StoredRun":
        """A run that nobody has seen: its key is minted from the completion that this event says."""
        return cls(org_id, run_key(org_id, state.run_id, state.completed_ms), state, counts)

    @property
    def complete(self) -> bool:
        """Whether all that was announced has come."""
        return runs.is_complete(self.state, self.counts)


async def insert_new(connection: Connection, new: Sequence[StoredRun]) -> set[RunRef]:
    """Inserts those that nobody has stored yet; returns their addresses."""
    rows = await connection.fetch(_SQL["insert_new"], *map(list, zip(*map(_insert_row, new), strict=True)))
    return {(OrgId(row["org_id"]), row["run_id"]) for row in rows}


async def lock(connection: Connection, addresses: Iterable[RunRef]) -> dict[RunRef, StoredRun]:
    """The stored runs among these, locked until the transaction ends."""
    rows = await connection.fetch(_SQL["lock"], *map(list, zip(*addresses, strict=True)))
    return {(OrgId(row["org_id"]), row["run_id"]): _stored(row) for row in rows}


async def update(connection: Connection, run: StoredRun) -> None:
    """Writes what has changed since the row was locked, the revision included."""
    state = run.state
    await connection.execute(
        _SQL["update"],
        run.org_id,
        run.key,
        *_field_columns(state),
        *_state_columns(run),
        sorted(state.shards),
        _moment(state.started_ms),
        _moment(state.last_completed_ms),
        runs.duration_ms(state),
        run.revision,
    )


async def count_results(connection: Connection, org_id: OrgId, key: RunKey) -> Counts:
    """The counts of a run from its results."""
    row = await connection.fetchrow(_SQL["count_results"], org_id, key)
    return Counts(*row) if row else Counts()


def _insert_row(run: StoredRun) -> tuple[Any, ...]:
    state = run.state
    return (
        run.org_id,
        run.key,
        state.run_id,
        state.project_id,
        *_field_columns(state),
        *_state_columns(run),
        orjson.dumps(sorted(state.shards)).decode(),
        _moment(state.started_ms),
        _moment(state.completed_ms),
        _moment(state.last_completed_ms),
        runs.duration_ms(state),
    )


def _field_columns(state: RunState) -> tuple[Any, ...]:
    """The describing columns, then the time of the event that each is from; documents as text, as unnest wants them."""
    values = {name: value for name, (_, value) in state.field_versions.items()}
    times = {name: event_s for name, (event_s, _) in state.field_versions.items()}
    return (
        *(values.get(name) for name in _DESCRIBING[:-1]),
        *(orjson.dumps(document).decode() for document in (values.get("labels", {}), times)),
    )


def _state_columns(run: StoredRun) -> tuple[Any, ...]:
    state, counts = run.state, run.counts
    return (
        runs.run_status(state, counts),
        state.stated_status,
        state.status_event_s,
        *counts,
        runs.is_complete(state, counts),
        state.expected_results,
        state.expected_shards,
    )


def _stored(row: asyncpg.Record) -> StoredRun:
    state = RunState(
        run_id=row["run_id"],
        project_id=row["project_id"],
        completed_ms=_since_epoch(row["completed_at"]),
        last_completed_ms=_since_epoch(row["last_completed_at"]),
        started_ms=_since_epoch(row["started_at"]) if row["started_at"] else None,
        field_versions={name: (event_s, row[name]) for name, event_s in row["field_versions"].items()},
        stated_status=row["stated_status"],
        status_event_s=row["status_event_s"],
        expected_results=row["expected_results"],
        expected_shards=row["expected_shards"],
        shards=frozenset(row["shards"]),
        complete=row["complete"],
    )
    counts = Counts(*(row[name] for name in Counts._fields))
    return StoredRun(
        OrgId(row["org_id"]), RunKey(row["run_key"]), state, counts, row["revision"], row["results_expired"]
    )


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else _EPOCH + timedelta(milliseconds=ms)


def _since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // _MS
