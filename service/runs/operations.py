"""What a caller can do with runs: list, find, and complete them. CI jobs can change only the runs of their pipeline."""

from dataclasses import replace
from typing import Final
from uuid import UUID

from service.contracts.queries import RunQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.domain.cursors import CursorCodec, Cursors
from service.domain.errors import Conflict, NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import RunKey
from service.domain.texts import is_storable, replace_unstorable
from service.identity.keys.model import Caller, permissions_of
from service.identity.publishers.job_claims import check_origin
from service.ingest.run_changes import RunChange, emit_run_events
from service.runs import store
from service.runs.model import FilterSuggestions, RunDetailRow, RunRow, describe_incomplete, is_untrusted_id
from service.runs.store import RunSelector

_CODEC: Final = CursorCodec[RunKey](lambda key: key.bytes, lambda data: RunKey(UUID(bytes=data)))
_MAX_SUGGESTIONS: Final = 20


async def list_runs(pool: Pool, caller: Caller, query: RunQuery) -> ListPage[RunRow]:
    """Return runs, newest first. Raises InvalidRequest for a cursor of another list."""
    filter_ = restrict_to_project(query.to_filter(), caller.project_id)
    if filter_ is None:
        return ListPage((), None)

    async def read(connection: Connection, after: RunKey | None) -> RowPage[RunRow, RunKey]:
        return await store.list_page(connection, caller.org_id, filter_, after, query.limit)

    cursors = Cursors(_CODEC, "runs", caller.org_id, filter_.set_fields())
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def suggest_filters(pool: Pool, caller: Caller, project_id: str | None) -> FilterSuggestions:
    """Return the newest authors and pull requests of a project, or of all projects that the caller can read."""
    selected = project_id or caller.project_id
    if caller.project_id not in (None, selected):
        return FilterSuggestions((), ())
    async with as_organization(pool, caller.org_id) as connection:
        return await store.suggest_filters(connection, caller.org_id, selected, _MAX_SUGGESTIONS)


def select_run(caller: Caller, run_id: str) -> RunSelector:
    """Return the selector of a run that the caller can see. Raises NotFound if PostgreSQL can't store its ID."""
    if not is_storable(run_id):
        raise run_not_found(run_id)
    return RunSelector(run_id, caller.project_id)


async def find_run(pool: Pool, caller: Caller, run_id: str) -> RunDetailRow | None:
    """Return a run with its parts, or None if the caller can't see it. Raises NotFound if its ID can't exist."""
    selector = select_run(caller, run_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await store.find_one(connection, caller.org_id, *selector)


async def read_run(connection: Connection, caller: Caller, run_id: str) -> RunDetailRow:
    """Return a run with its parts. Raises NotFound."""
    run = await store.find_one(connection, caller.org_id, *select_run(caller, run_id))
    if run is None:
        raise run_not_found(run_id)
    return run


def run_not_found(run_id: str) -> NotFound:
    """Return the same error for a run that is unknown or of another organization."""
    return NotFound(f"run {replace_unstorable(run_id[:100])!r} not found")


async def complete_run(connection: Connection, caller: Caller, run_id: str, link_base: str) -> None:
    """Complete a run that was sent with `final: false`, in the caller's notifying transaction.

    A complete run stays unchanged, except that no later event makes it incomplete. Raises NotFound, Forbidden if the
    caller is the job of another pipeline, and Conflict if expected shards or results are missing.
    """
    await check_run_of_job(connection, caller, run_id)
    ref = caller.org_id, run_id
    run = (await store.lock(connection, [ref])).get(ref)
    if run is None or caller.project_id not in (None, run.state.project_id):
        raise run_not_found(run_id)
    if run.state.closed:
        return
    if run.complete:
        await store.close(connection, run)
        return
    if (missing := describe_incomplete(run.state, run.counts)) is not None:
        raise Conflict(f"run {run_id!r} can't be completed: {missing}")
    run.change(replace(run.state, closed=True), run.counts)
    await store.close(connection, run)
    await emit_run_events(connection, [RunChange(run, completed=run.completes, notify=run.trusted)], link_base)


async def check_run_of_job(connection: Connection, caller: Caller, run: str | RunKey) -> None:
    """Raise Forbidden if the caller is a CI job, and the run, given by its ID or key, is stored by another one.

    The jobs of a pipeline share their runs. A run without a pipeline or branch is one of another producer. A run of a
    fork is from another pipeline than the job that promotes it and applies a gate.
    """
    if caller.job is None:
        return
    stored = await store.find_origin(connection, caller.org_id, run, caller.project_id)
    is_of_fork = stored is not None and is_untrusted_id(str(stored["run_id"]))
    if stored is not None and not (is_of_fork and "runs:promote" in permissions_of(caller.role)):
        check_origin(caller.job, str(stored["run_id"]), stored)
