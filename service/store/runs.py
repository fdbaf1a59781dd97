"""Insertion, locking, and update of runs during ingest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import asyncpg
import orjson

from service.domain import runs
from service.domain.ids import OrgId, RunKey, run_key
from service.domain.parts import PartNumbers, is_assigned
from service.domain.rows import RunRow
from service.domain.runs import PartVersion, RunState, Spans
from service.domain.statuses import STATUS_NAMES, Counts, RunStatus
from service.domain.untrusted import is_untrusted_id
from service.store import run_parts
from service.store.postgres.database import Connection
from service.store.postgres.requested_rows import fetch_requested
from service.store.postgres.statements import statements
from service.store.projects import ProjectRef

_SQL: Final = statements("runs")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_VERSIONED_FIELDS: Final = (
    "environment", "branch", "base_branch", "commit_sha", "pull_request", "ci_url", "pipeline", "title", "author",
    "workflow", "job_url", "repository_url", "labels",
)  # fmt: skip

RunRef = tuple[OrgId, str]  # organization, run_id


class RunKeyRef(NamedTuple):
    """The key of a run with its organization."""

    org_id: OrgId
    run_key: RunKey


@dataclass(slots=True)
class StoredRun:
    """A run with its key, its counts, and its revision. Only `set_state` and `change` set the state and the counts.

    `has_been_complete` is true if an earlier transaction has published that the run is complete. `trusted` is false for
    an untrusted run that isn't promoted.
    """

    org_id: OrgId
    key: RunKey
    state: RunState
    counts: Counts
    revision: int = 1
    results_expired: bool = False
    parts: PartNumbers = field(default_factory=PartNumbers)
    has_been_complete: bool = False
    pinned: bool = False
    trusted: bool = True
    status: str = field(init=False)  # its code
    complete: bool = field(init=False)

    def __post_init__(self) -> None:
        """Set what the state and the counts lead to."""
        self.set_state(self.state, self.counts)

    @classmethod
    def new(cls, org_id: OrgId, state: RunState, counts: Counts, parts: PartNumbers | None = None) -> "StoredRun":
        """Create a run that isn't stored yet. Its key contains the completion time of this event."""
        key = run_key(org_id, state.run_id, state.completed_ms)
        trusted = not is_untrusted_id(state.run_id)
        return cls(org_id, key, state, counts, parts=parts or PartNumbers(), trusted=trusted)

    @property
    def ref(self) -> RunRef:
        """The identity of the run."""
        return self.org_id, self.state.run_id

    @property
    def key_ref(self) -> RunKeyRef:
        """The key of the run with its organization."""
        return RunKeyRef(self.org_id, self.key)

    @property
    def project_ref(self) -> ProjectRef:
        """The project of the run with its organization."""
        return self.org_id, self.state.project_id

    @property
    def fields(self) -> dict[str, Any]:
        """The values of the versioned fields that events have stated."""
        return {name: value for name, (_, value) in self.state.field_versions.items()}

    @property
    def completes(self) -> bool:
        """Whether this transaction completes the run for the first time."""
        return self.complete and not self.has_been_complete

    def set_state(self, state: RunState, counts: Counts) -> None:
        """Set the state and the counts, and the status and completeness that follow from them."""
        self.state, self.counts = state, counts
        self.status, self.complete = runs.run_status(state, counts), runs.is_complete(state, counts)

    def change(self, state: RunState, counts: Counts) -> None:
        """Set the state and the counts, as the next revision."""
        self.set_state(state, counts)
        self.revision += 1


async def insert_new(connection: Connection, new: Sequence[StoredRun]) -> set[RunRef]:
    """Insert the runs that aren't stored yet, and return their identities."""
    rows = await connection.fetch(_SQL["insert_new"], orjson.dumps([_columns(run) for run in new]).decode())
    return {(OrgId(row["org_id"]), row["run_id"]) for row in rows}


async def lock(connection: Connection, refs: Iterable[RunRef]) -> dict[RunRef, StoredRun]:
    """Return the stored runs, locked until the transaction ends."""
    rows = await fetch_requested(connection, "locked_runs", refs, ["run_ids"])
    with_parts = [row for row in rows if any(map(is_assigned, map(int, row["shard_versions"])))]
    parts = await run_parts.find_assigned(connection, [(row["org_id"], row["run_key"]) for row in with_parts])
    return {
        (OrgId(row["org_id"]), row["run_id"]): _stored_run(row, PartNumbers(parts.get(row["run_key"]))) for row in rows
    }


async def find_run_id(connection: Connection, org_id: OrgId, key: RunKey) -> str | None:
    """Return the ID of the run with this key, or None."""
    run_id: str | None = await connection.fetchval(_SQL["find_run_id"], org_id, key)
    return run_id


async def find_origin(
    connection: Connection, org_id: OrgId, run: str | RunKey, project_id: str | None
) -> dict[str, str | None] | None:
    """Return the run_id, the pipeline, and the branch of a run, given by its ID or key, or None if it doesn't exist."""
    run_id, key = (run, None) if isinstance(run, str) else (None, run)
    row = await connection.fetchrow(_SQL["find_origin"], org_id, run_id, key, project_id)
    return None if row is None else dict(row)


async def is_untrusted(connection: Connection, org_id: OrgId, run_id: str, project_id: str) -> bool | None:
    """Return whether a run is an untrusted one of the project. None if the run doesn't exist."""
    found: bool | None = await connection.fetchval(_SQL["is_untrusted_of_project"], org_id, run_id, project_id)
    return found


async def lock_untrusted(connection: Connection, org_id: OrgId, key: RunKey) -> bool:
    """Prevent the promotion of a run until the end of the transaction. Return False if the run is trusted."""
    return await connection.fetchval(_SQL["lock_untrusted"], org_id, key) is not None


async def set_pinned(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, *, pinned: bool
) -> bool | None:
    """Pin or unpin a run. Return False for an untrusted run, which can't be pinned. None if the run doesn't exist."""
    is_set: bool | None = await connection.fetchval(_SQL["set_pinned"], org_id, run_id, project_id, pinned)
    return is_set


async def close(connection: Connection, run: StoredRun) -> None:
    """Write that a locked run is closed, its status, and its revision."""
    await connection.execute(_SQL["close"], run.org_id, run.key, run.revision, run.status)


async def update(connection: Connection, changed: Iterable[StoredRun]) -> None:
    """Write the state, the counts, and the revision of runs that the transaction has locked."""
    rows = [(run.org_id, run.key, orjson.dumps(_columns(run)).decode()) for run in changed]
    await connection.executemany(_SQL["update"], rows)


def run_row(run: StoredRun, organization_id: str) -> RunRow:
    """Return the run as a row of the read side. `organization_id` is the slug of its organization."""
    state, fields = run.state, run.fields
    return RunRow(
        run.key,
        organization_id,
        state.run_id,
        state.project_id,
        fields.get("environment"),
        fields.get("branch"),
        fields.get("base_branch"),
        fields.get("commit_sha"),
        fields.get("pull_request"),
        fields.get("ci_url"),
        fields.get("pipeline"),
        fields.get("title"),
        fields.get("author"),
        fields.get("workflow"),
        fields.get("job_url"),
        fields.get("repository_url"),
        fields.get("labels") or {},
        status=cast("RunStatus", STATUS_NAMES[run.status]),
        failures_missing=state.failures_missing,
        complete=run.complete,
        counts=run.counts,
        expected_results=state.expected_results,
        expected_shards=state.expected_shards,
        revision=run.revision,
        started_ms=state.started_ms,
        completed_ms=state.completed_ms,
        last_completed_ms=state.last_completed_ms,
        duration_ms=runs.duration_ms(state.spans),
        results_expired=run.results_expired,
        pinned=run.pinned,
        trusted=run.trusted,
    )


def _columns(run: StoredRun) -> dict[str, Any]:
    """Return the columns of a run as a JSON document, from which PostgreSQL builds the row."""
    state, counts, fields = run.state, run.counts, run.fields
    return {
        "org_id": run.org_id,
        "run_key": str(run.key),
        "run_id": state.run_id,
        "project_id": state.project_id,
        **{name: fields.get(name) for name in _VERSIONED_FIELDS},
        "labels": fields.get("labels", {}),
        "field_versions": {name: event_s for name, (event_s, _) in state.field_versions.items()},
        "status": run.status,
        "stated_status": state.stated_status,
        "status_event_s": state.status_event_s,
        **counts._asdict(),
        "complete": run.complete,
        "closed": state.closed,
        "sent_at_once": state.sent_at_once,
        "has_been_complete": run.complete or run.has_been_complete,
        "failures_missing": state.failures_missing,
        "shard_versions": {str(run.parts.find(part)): list(version) for part, version in state.part_versions.items()},
        "part_spans": None if state.spans == ((state.started_ms, state.last_completed_ms),) else state.spans,
        "expected_results": state.expected_results,
        "expected_shards": state.expected_shards,
        "shards": sorted(state.shards),
        "started_at": _to_datetime(state.started_ms),
        "completed_at": _to_datetime(state.completed_ms),
        "last_completed_at": _to_datetime(state.last_completed_ms),
        "duration_ms": runs.duration_ms(state.spans),
        "revision": run.revision,
        "results_expired": run.results_expired,
        "trusted": run.trusted,
        "awaited_receipts": sorted(state.awaited) or None,
    }


def _stored_run(row: asyncpg.Record, parts: PartNumbers) -> StoredRun:
    state = RunState(
        run_id=row["run_id"],
        project_id=row["project_id"],
        completed_ms=_to_ms(row["completed_at"]),
        last_completed_ms=_to_ms(row["last_completed_at"]),
        spans=_spans(row),
        field_versions={
            name: (row["field_versions"][name], row[name])
            for name in (*_VERSIONED_FIELDS, "labels")
            if name in row["field_versions"]
        },
        stated_status=row["stated_status"].decode() if row["stated_status"] else None,
        status_event_s=row["status_event_s"],
        expected_results=row["expected_results"],
        expected_shards=row["expected_shards"],
        shards=frozenset(row["shards"]),
        closed=row["complete"] if row["closed"] is None else row["closed"],
        sent_at_once=row["sent_at_once"] or False,
        part_versions={
            parts.part(int(number)): PartVersion(*version) for number, version in row["shard_versions"].items()
        },
        awaited=frozenset(row["awaited_receipts"] or ()),
    )
    run = StoredRun(
        OrgId(row["org_id"]), RunKey(row["run_key"]), state, Counts(*(row[name] for name in Counts._fields)),
        row["revision"], row["results_expired"], parts, row["complete"] or bool(row["has_been_complete"]),
        row["pinned"], row["trusted"] is not False,
    )  # fmt: skip
    if row["complete"] and not run.complete:  # a version without the column `closed` completed the run
        run.set_state(replace(state, closed=True), run.counts)
    return run


def _spans(row: asyncpg.Record) -> Spans:
    """Return when the parts of the run were executed: all the time, unless `part_spans` lead to the stored duration.

    A version without `part_spans` has stored the run or has added a part to it since.
    """
    if row["started_at"] is None:
        return ()
    stored = row["part_spans"] or ()
    by_part = stored.values() if isinstance(stored, dict) else stored  # an object by the number of the part: earlier
    spans = runs.join_spans((start, end) for start, end in by_part if start is not None)
    if runs.duration_ms(spans) == row["duration_ms"]:
        return spans
    return runs.join_spans([(_to_ms(row["started_at"]), _to_ms(row["last_completed_at"]))])


def _to_datetime(ms: int | None) -> datetime | None:
    return None if ms is None else _EPOCH + timedelta(milliseconds=ms)


def _to_ms(time: datetime) -> int:
    return (time - _EPOCH) // _MS
