"""The digests of the week that ended last: one event per project, and per owner, that a webhook names.

The row of a digest is inserted in the transaction of its event, so that neither a crash nor a second process repeats or
drops one. After a downtime, only the newest week is published.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast
from urllib.parse import urlencode

from service.database.database import Connection, Pool
from service.database.errors import is_conflict
from service.database.transactions import notifying_transaction
from service.digests import store
from service.digests.store import DigestPlace
from service.domain.ids import OrgId, new_id
from service.events import store as events_store
from service.events.contract import DigestGroup, DigestObject, digest_json
from service.events.model import NewEvent
from service.failures import store as failures_store
from service.organizations import store as organizations_store
from service.retention import store as retention_store
from service.retention.organization_store import prevent_deletion
from service.states import store as states_store

# After the end of the week. Costs are rolled up after one hour. Later, a digest without them is published.
_STARTS_AFTER: Final = timedelta(hours=2)
_WAITS_FOR_COSTS: Final = timedelta(hours=12)
_MAX_GROUPS: Final = 10

OwnedGroup = tuple[Sequence[str], Mapping[str, Any]]  # owners, and FailureGroupObject


async def publish_digests(pool: Pool, link_base: str) -> None:
    """Publish the digests that are due, each project in its own transaction.

    Several processes can call it concurrently. A project that fails delays no other; its error is raised at the end.
    """
    async with pool.acquire() as connection:
        now = (await retention_store.read_clock(connection)).astimezone(UTC)
        org_ids = [OrgId(row["org_id"]) for row in await organizations_store.list_all(connection)]
    week, failure = find_ended_week(now), None
    is_late = (now - _WAITS_FOR_COSTS).date() >= week + timedelta(days=7)
    for org_id in org_ids:
        async with pool.acquire() as connection:
            due = await store.find_due(connection, org_id, week, may_lack_costs=is_late)
        for project_id, owners in due:
            try:
                async with pool.acquire() as connection, notifying_transaction(connection):
                    await prevent_deletion(connection, [org_id])
                    await _publish(connection, DigestPlace(org_id, project_id, week), owners, link_base)
            except Exception as error:
                failure = failure if is_conflict(error) else error
    if failure:
        raise failure


def find_ended_week(now: datetime) -> date:
    """Return the Monday of the newest week whose digests are due."""
    day = (now - _STARTS_AFTER).date()
    return day - timedelta(days=day.weekday() + 7)


async def _publish(connection: Connection, place: DigestPlace, owners: Sequence[str], link_base: str) -> None:
    """Publish the digests of a project that no other process has published, unless the project is being deleted."""
    branch = await states_store.find_branch(connection, place.org_id, place.project_id)
    if branch is None or not (created := await store.insert(connection, place, owners)):
        return
    groups = await _find_open_groups(connection, place, branch, link_base)
    events: list[NewEvent] = []
    for owner in created:
        listed = [group for owners_of, group in groups if not owner or owner in owners_of]
        numbers = await store.read_digest(connection, place, owner, link_base)
        data = digest_json(_write_digest(place, owner, numbers, listed, link_base))
        event = NewEvent(place.org_id, new_id("evt"), "project.digest", place.project_id, None, data)
        events.append(event._replace(branch=branch, owners=[owner] if owner else None))
    await events_store.insert(connection, events)


async def _find_open_groups(
    connection: Connection, place: DigestPlace, branch: str, link_base: str
) -> list[OwnedGroup]:
    """Return the open groups of a project, those with the most cases first."""
    org_id, project_id, _ = place
    open_groups = list(await failures_store.find_states(connection, org_id, project_id, ()))
    found = await failures_store.find_objects(connection, org_id, (project_id, branch), open_groups, link_base, 0)
    return sorted(found.values(), key=lambda each: (-each[1]["case_count"], each[1]["id"]))


def _write_digest(
    place: DigestPlace, owner: str, numbers: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], link_base: str
) -> DigestObject:
    year, week, _ = place.week.isocalendar()
    page, query = ("owners", {"owner": owner}) if owner else ("health", {})
    members = {
        "project_id": place.project_id,
        "owner": owner or None,
        "week": f"{year}-W{week:02}",
        **numbers,
        "open_groups": [_write_group(group) for group in groups[:_MAX_GROUPS]],
        "open_group_count": len(groups),
        "console": f"{link_base}/console/{page}?{urlencode({'project_id': place.project_id, **query})}",
    }
    return cast("DigestObject", members)


def _write_group(group: Mapping[str, Any]) -> DigestGroup:
    shared = {name: group[name] for name in DigestGroup.__annotations__ if name in group}
    return cast("DigestGroup", {**shared, "console": group["links"]["console"]})
