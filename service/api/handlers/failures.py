"""Handlers for failure groups: the ranked list, one group, and its ticket."""

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import compact, reply_json, reply_list, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.failures import FailurePatch, FailureQuery
from service.domain.errors import InvalidRequest, NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import Fingerprint, OrgId, parse_fingerprint_id
from service.store.failure_tickets import set_ticket
from service.store.postgres.database import Connection, as_organization
from service.store.queries import failures


async def list_failures(request: web.Request) -> web.Response:
    """List the failure groups of a run, or of the newest runs of a project, those with most results first."""
    query, caller = parse_query(request, FailureQuery), get_caller(request)
    filter_ = restrict_to_project(query.to_filter(), caller.project_id)
    if filter_ is None:
        return reply_list([], None, truncated=False)
    if filter_.run_id is None and filter_.project_id is None:
        raise InvalidRequest(
            "project_id: is required without run_id, unless the key is bound to a project", "project_id"
        )
    async with as_organization(request.app[RESOURCES].list_pool, caller.org_id) as connection:
        groups = await failures.list_groups(connection, caller.org_id, filter_, query.limit)
    return reply_list(orjson.Fragment(compact(groups.data)), None, truncated=groups.truncated)


async def get_failure(request: web.Request) -> web.Response:
    """Return one failure group."""
    caller, fingerprint = get_caller(request), _fingerprint(request)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        return reply_with_etag(await _find(connection, request, caller.org_id, fingerprint))


async def update_failure(request: web.Request) -> web.Response:
    """Set or remove the ticket of a failure group."""
    body, caller = await parse_body(request, FailurePatch), get_caller(request)
    fingerprint = _fingerprint(request)

    async def change(connection: Connection) -> web.Response:
        if await failures.find_project(connection, caller.org_id, fingerprint, caller.project_id) is None:
            raise _failure_not_found(request)
        await set_ticket(connection, caller.org_id, fingerprint, body.ticket_url)
        return reply_json(await _find(connection, request, caller.org_id, fingerprint))

    return await mutate(request, change)


async def _find(connection: Connection, request: web.Request, org_id: OrgId, fingerprint: Fingerprint) -> str:
    found = await failures.find_one(connection, org_id, fingerprint, get_caller(request).project_id)
    if found is None:
        raise _failure_not_found(request)
    return found


def _fingerprint(request: web.Request) -> Fingerprint:
    fingerprint = parse_fingerprint_id(request.match_info["id"])
    if fingerprint is None:
        raise _failure_not_found(request)
    return fingerprint


def _failure_not_found(request: web.Request) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization or project."""
    return NotFound(f"failure {request.match_info['id'][:100]!r} not found")
