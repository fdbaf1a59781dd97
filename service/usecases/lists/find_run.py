"""One run for a caller."""

from service.domain.errors import NotFound
from service.domain.keys import Caller
from service.domain.rows import RunDetailRow
from service.domain.texts import is_storable, replace_unstorable
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries import runs
from service.store.queries.runs import RunSelector


def select_run(caller: Caller, run_id: str) -> RunSelector:
    """Return the selector of a run that the caller can see. Raises NotFound if PostgreSQL can't store its ID."""
    if not is_storable(run_id):
        raise run_not_found(run_id)
    return RunSelector(run_id, caller.project_id)


async def find_run(pool: Pool, caller: Caller, run_id: str) -> RunDetailRow | None:
    """Return a run with its parts, or None if the caller can't see it. Raises NotFound if its ID can't exist."""
    selector = select_run(caller, run_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await runs.find_one(connection, caller.org_id, *selector)


async def read_run(connection: Connection, caller: Caller, run_id: str) -> RunDetailRow:
    """Return a run with its parts. Raises NotFound."""
    run = await runs.find_one(connection, caller.org_id, *select_run(caller, run_id))
    if run is None:
        raise run_not_found(run_id)
    return run


def run_not_found(run_id: str) -> NotFound:
    """Return the same error for a run that is unknown or of another organization."""
    return NotFound(f"run {replace_unstorable(run_id[:100])!r} not found")
