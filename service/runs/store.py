"""The SQL of runs and their parts: reads for lists and details, and insertion, locking, and update during ingest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, cast

import asyncpg
import orjson

from service.database.database import Connection, Row
from service.database.pages import RowPage, cut_page, fetch_requested, filter_values
from service.database.statements import RUN_BUDGET, compose, statements
from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId, RunKey, completed_ms, run_key
from service.domain.statuses import STATUS_NAMES, Counts, RunStatus
from service.domain.timestamps import from_ms, to_ms
from service.domain.variants import canonical_variant
from service.organizations.store import find_slugs
from service.projects.store import ProjectRef
from service.runs import model
from service.runs.candidates import find_commits, find_runs
from service.runs.model import (
    STATED_FIELDS,
    FilterSuggestions,
    PartNumbers,
    PartRow,
    PartVersion,
    PullRequestSuggestion,
    RunDetailRow,
    RunPart,
    RunRow,
    RunState,
    Spans,
    is_assigned,
    is_untrusted_id,
)

_SQL: Final = statements("runs")
_NO_VARIANT: Final = "{}"
# Of the fragment `run_fields`, which lacks `organization_id`.
_FIRST_COUNT: Final = RunRow._fields.index("counts") - 1
_AFTER_COUNTS: Final = _FIRST_COUNT + len(Counts._fields)
RUN_COLUMNS: Final = len(RunRow._fields) - 2 + len(Counts._fields)
RunRef = tuple[OrgId, str]  # organization, run_id


class RunKeyRef(NamedTuple):
    """The key of a run with its organization."""

    org_id: OrgId
    run_key: RunKey


class RunSelector(NamedTuple):
    """A run_id and, for a key that is bound to a project, the project that the run must belong to."""

    run_id: str
    project_id: str | None


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: RunFilter,
    after: RunKey | None,
    limit: int,
    budget: int = RUN_BUDGET,
) -> RowPage[RunRow, RunKey]:
    """Return the next runs, newest first. A page has fewer than `limit` if it is large or if the budget ends before
    the list does."""
    slugs = await find_slugs(connection, [org_id])  # has it if there are runs, because an organization is deleted last
    commits = await find_commits(connection, org_id, filter_)
    position = None if after is None else Position.after_run(after)
    values = filter_values(org_id, filter_, position) | {"commits": commits}
    found = await find_runs(connection, filter_, values, limit + 1, budget)
    rows = [run_row(row, slugs[org_id]) for row in found.rows]
    return cut_page(rows, limit, found.edge, lambda run: run.run_key)


async def find_one(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> RunDetailRow | None:
    """Return one run with its parts, or None if the organization, or the given project, doesn't have it."""
    values = {"org_id": org_id, "run_id": run_id, "project_id": project_id}
    rows = await compose("one_run").fetch_rows(connection, values)
    if not rows:
        return None
    row = rows[0]
    return RunDetailRow(run_row(row, row["organization_id"]), list(map(PartRow._make, row["parts"] or ())))


def run_row(row: Row | Sequence[Any], organization_id: str) -> RunRow:
    """Return the run whose columns, those of the fragment `run_fields`, are the first ones of a row."""
    counts = Counts(*row[_FIRST_COUNT:_AFTER_COUNTS])
    return RunRow._make((row[0], organization_id, *row[1:_FIRST_COUNT], counts, *row[_AFTER_COUNTS:RUN_COLUMNS]))


async def suggest_filters(
    connection: Connection, org_id: OrgId, project_id: str | None, limit: int
) -> FilterSuggestions:
    """Return at most `limit` values of each filter, of the newest runs of a project or of the organization."""
    name = "filter_suggestions_of_organization" if project_id is None else "filter_suggestions_of_project"
    values = {"org_id": org_id, "project_id": project_id, "suggestions": limit}
    rows = await compose(name).fetch_rows(connection, values)
    return FilterSuggestions(
        [author for author, _, _ in rows if author is not None],
        [PullRequestSuggestion(number, title) for _, number, title in rows if number is not None],
    )


async def find_shards(connection: Connection, org_id: OrgId, key: RunKey) -> list[int]:
    """Return the numbers of the shards of a run that have arrived, in ascending order."""
    shards: list[int] = await compose("shards_of_run").fetch_value(connection, {"org_id": org_id, "run_key": key})
    return sorted(shards or [])


async def find_complete(
    connection: Connection, selectors: Sequence[tuple[OrgId, RunSelector]]
) -> set[tuple[OrgId, RunSelector]]:
    """Return the selectors, each with its organization, whose runs are complete."""
    requested = [(org_id, *selector) for org_id, selector in selectors]
    rows = await fetch_requested(connection, "complete_runs", requested, ["run_ids", "project_ids"])
    return {(OrgId(row["org_id"]), RunSelector(row["run_id"], row["project_id"])) for row in rows}


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
    def ref_of_day(self) -> tuple[OrgId, str, int]:
        """The project with its organization, and the completion time that the key contains, in ms since 1970."""
        return *self.project_ref, completed_ms(self.key)

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
        self.status, self.complete = model.run_status(state, counts), model.is_complete(state, counts)

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
    parts = await _find_assigned_parts(connection, [(row["org_id"], row["run_key"]) for row in with_parts])
    return {
        (OrgId(row["org_id"]), row["run_id"]): _stored_run(row, PartNumbers(parts.get(row["run_key"]))) for row in rows
    }


async def _find_assigned_parts(
    connection: Connection, runs: Iterable[tuple[OrgId, RunKey]]
) -> Mapping[RunKey, dict[int, RunPart]]:
    """Return the parts of these runs that have an assigned number."""
    found: dict[RunKey, dict[int, RunPart]] = {}
    for row in await fetch_requested(connection, "assigned_parts", runs, ["run_keys"]):
        part = RunPart(row["name"], canonical_variant(row["variant"]), row["shard"], row["attempt"])
        found.setdefault(RunKey(row["run_key"]), {})[row["number"]] = part
    return found


def _stored_run(row: asyncpg.Record, parts: PartNumbers) -> StoredRun:
    state = RunState(
        run_id=row["run_id"],
        project_id=row["project_id"],
        completed_ms=to_ms(row["completed_at"]),
        last_completed_ms=to_ms(row["last_completed_at"]),
        spans=_spans(row),
        field_versions={
            name: (row["field_versions"][name], row[name]) for name in STATED_FIELDS if name in row["field_versions"]
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
    spans = model.join_spans((start, end) for start, end in by_part if start is not None)
    if model.duration_ms(spans) == row["duration_ms"]:
        return spans
    return model.join_spans([(to_ms(row["started_at"]), to_ms(row["last_completed_at"]))])


async def update(connection: Connection, changed: Iterable[StoredRun]) -> None:
    """Write the state, the counts, and the revision of runs that the transaction has locked."""
    rows = [(run.org_id, run.key, orjson.dumps(_columns(run)).decode()) for run in changed]
    await connection.executemany(_SQL["update"], rows)


async def close(connection: Connection, run: StoredRun) -> None:
    """Write that a locked run is closed, its status, and its revision."""
    await connection.execute(_SQL["close"], run.org_id, run.key, run.revision, run.status)


def _columns(run: StoredRun) -> dict[str, Any]:
    """Return the columns of a run as a JSON document, from which PostgreSQL builds the row."""
    state, counts, fields = run.state, run.counts, run.fields
    return {
        "org_id": run.org_id,
        "run_key": str(run.key),
        "run_id": state.run_id,
        "project_id": state.project_id,
        **{name: fields.get(name) for name in STATED_FIELDS},
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
        "started_at": None if state.started_ms is None else from_ms(state.started_ms),
        "completed_at": from_ms(state.completed_ms),
        "last_completed_at": from_ms(state.last_completed_ms),
        "duration_ms": model.duration_ms(state.spans),
        "revision": run.revision,
        "results_expired": run.results_expired,
        "trusted": run.trusted,
        "awaited_receipts": sorted(state.awaited) or None,
    }


def row_of_stored(run: StoredRun, organization_id: str) -> RunRow:
    """Return the run as a row of the read side. `organization_id` is the slug of its organization."""
    state, fields = run.state, run.fields
    return RunRow(
        run_key=run.key,
        organization_id=organization_id,
        run_id=state.run_id,
        project_id=state.project_id,
        **{name: fields.get(name) for name in STATED_FIELDS if name != "labels"},
        labels=fields.get("labels") or {},
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
        duration_ms=model.duration_ms(state.spans),
        results_expired=run.results_expired,
        pinned=run.pinned,
        trusted=run.trusted,
    )


async def lock_untrusted(connection: Connection, org_id: OrgId, key: RunKey) -> bool:
    """Prevent the promotion of a run until the end of the transaction. Return False if the run is trusted."""
    return await connection.fetchval(_SQL["lock_untrusted"], org_id, key) is not None


async def set_pinned(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, *, pinned: bool
) -> bool | None:
    """Pin or unpin a run. Return False for an untrusted run, which can't be pinned. None if the run doesn't exist."""
    is_set: bool | None = await connection.fetchval(_SQL["set_pinned"], org_id, run_id, project_id, pinned)
    return is_set


class NewPart(NamedTuple):
    """An attempt of a part that was accepted."""

    org_id: OrgId
    run_key: RunKey
    number: int
    part: RunPart
    has_results: bool


async def insert_parts(connection: Connection, parts: Iterable[NewPart]) -> None:
    """Insert the parts that aren't stored yet. The transaction must have locked the runs or inserted them."""
    merged: dict[tuple[OrgId, RunKey, int], NewPart] = {}
    for part in parts:
        known = merged.setdefault(part[:3], part)
        merged[part[:3]] = part._replace(has_results=part.has_results or known.has_results)
    if merged:
        rows = [_part_columns(merged[key]) for key in sorted(merged)]
        await connection.execute(_SQL["insert_parts"], *map(list, zip(*rows, strict=True)))


def _part_columns(new: NewPart) -> tuple[Any, ...]:
    name, variant, shard, attempt = new.part
    return *new[:3], name, variant or _NO_VARIANT, shard, attempt, new.has_results
