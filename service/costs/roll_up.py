"""The roll-up of costs: each closed day of each project once, and the months that its days are merged into."""

from datetime import UTC, timedelta
from typing import Final

from service.costs import store
from service.costs.model import MERGED_AFTER_DAYS
from service.costs.store import CostLimits
from service.database.database import Pool
from service.database.errors import is_conflict
from service.domain.ids import OrgId
from service.organizations import store as organizations_store
from service.retention import store as retention_store
from service.retention.model import first_retained_month
from service.retention.organization_store import prevent_deletion

_OPEN_FOR: Final = timedelta(hours=1)  # after the end of a day, so that late ingest of its runs needs no mark


async def roll_up_costs(pool: Pool, results_period: timedelta) -> None:
    """Roll up closed days, roll up changed days again, and merge old months, each in its own transaction.

    Several processes can call it concurrently. An interruption keeps the previous steps. A step that fails doesn't
    delay other projects; its error is raised at the end.
    """
    async with pool.acquire() as connection:
        now = (await retention_store.read_clock(connection)).astimezone(UTC)
        org_ids = [OrgId(row["org_id"]) for row in await organizations_store.list_all(connection)]
    merged = (now - timedelta(days=MERGED_AFTER_DAYS)).date().replace(day=1)
    limits = CostLimits((now - _OPEN_FOR).date(), merged, first_retained_month(now, results_period))
    failure: Exception | None = None
    for org_id in org_ids:
        async with pool.acquire() as connection:
            due = await store.find_due(connection, org_id, None, limits)
        for project_id in [step.project_id for step in due]:
            try:
                while await _execute_next(pool, org_id, project_id, limits):
                    pass
            except Exception as error:
                failure = failure if is_conflict(error) else error
    if failure:
        raise failure


async def _execute_next(pool: Pool, org_id: OrgId, project_id: str, limits: CostLimits) -> bool:
    """Execute the next step of a project. Return False if it has none, or if another process has the lock."""
    async with pool.acquire() as connection, connection.transaction():
        await prevent_deletion(connection, [org_id])
        if not await store.lock(connection, org_id, project_id):
            return False
        due = await store.find_due(connection, org_id, project_id, limits)
        for step in due:
            await store.execute(connection, org_id, step)
        return bool(due)
