"""Failure groups for a caller: the ranked list, one group, and its ticket."""

from service.database.database import Connection, Pool, as_organization
from service.domain.errors import InvalidRequest, NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import Fingerprint, parse_fingerprint_id
from service.failures import store
from service.failures.contract import FailureQuery
from service.failures.model import FailureGroupDetailRow, RankedGroups
from service.identity.keys.model import Caller


async def list_failures(pool: Pool, caller: Caller, query: FailureQuery) -> RankedGroups:
    """Return the failure groups of a run, or of the newest runs of a project, those with most results first.

    Raises InvalidRequest without a run and a project.
    """
    filter_ = restrict_to_project(query.to_filter(), caller.project_id)
    if filter_ is None:
        return RankedGroups((), truncated=False)
    if filter_.run_id is None and filter_.project_id is None:
        raise InvalidRequest(
            "project_id: is required without run_id, unless the key is bound to a project", "project_id"
        )
    async with as_organization(pool, caller.org_id) as connection:
        return await store.list_groups(connection, caller.org_id, filter_, query.limit)


async def find_failure(pool: Pool, caller: Caller, failure_id: str) -> FailureGroupDetailRow:
    """Return one failure group. Raises NotFound."""
    async with as_organization(pool, caller.org_id) as connection:
        return await read_failure(connection, caller, failure_id)


async def read_failure(connection: Connection, caller: Caller, failure_id: str) -> FailureGroupDetailRow:
    """Return one failure group as this transaction sees it. Raises NotFound."""
    fingerprint = _parse(failure_id)
    found = await store.find_one(connection, caller.org_id, fingerprint, caller.project_id)
    if found is None:
        raise _failure_not_found(failure_id)
    return found


async def set_ticket(connection: Connection, caller: Caller, failure_id: str, ticket_url: str | None) -> str:
    """Set or remove the ticket of a failure group, and return its project. Raises NotFound."""
    fingerprint = _parse(failure_id)
    project_id = await store.find_project(connection, caller.org_id, fingerprint, caller.project_id)
    if project_id is None:
        raise _failure_not_found(failure_id)
    await store.set_ticket(connection, caller.org_id, fingerprint, ticket_url)
    return project_id


def _parse(failure_id: str) -> Fingerprint:
    fingerprint = parse_fingerprint_id(failure_id)
    if fingerprint is None:
        raise _failure_not_found(failure_id)
    return fingerprint


def _failure_not_found(failure_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization or project."""
    return NotFound(f"failure {failure_id[:100]!r} not found")
