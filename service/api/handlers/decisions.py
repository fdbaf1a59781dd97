"""Handlers for decisions of gates and their waivers."""

from typing import Final

from aiohttp import web

from service.api.handlers.runs import wait_for_run
from service.api.http.authentication import get_caller
from service.api.http.long_polling import requested_wait_s
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply_json, reply_page
from service.api.server.resources import RESOURCES
from service.contracts.gates import DecisionQuery, DecisionRequest, WaiverIn
from service.domain.cursors import Cursors, ids
from service.domain.errors import InvalidRequest
from service.domain.gates import Policy
from service.domain.ids import is_id
from service.domain.missing import AllowedParts
from service.store import decisions
from service.store.decisions import DecisionFilter, DecisionRef
from service.store.postgres.database import Connection, as_organization
from service.store.postgres.transactions import reading_snapshot
from service.store.queries.runs import RunSelector
from service.usecases.gates import decide as usecase
from service.usecases.lists.find_run import select_run
from service.usecases.lists.pages import ListPage

_DECISIONS: Final = ids("dec")


async def create_decision(request: web.Request) -> web.Response:
    """Apply a gate, or an inline policy, to a run. With `wait`, wait until the run is complete."""
    selector, wait_s = select_run(get_caller(request), request.match_info["run_id"]), requested_wait_s(request)
    body = await parse_body(request, DecisionRequest)
    await wait_for_run(request, wait_s)
    if body.gate is not None and body.policy is None:
        return await _decide(request, selector, body.gate, AllowedParts(body.allow_missing_parts))
    if body.policy is not None and body.gate is None:
        allowed = AllowedParts(body.allow_missing_parts)
        return await _decide_dry(request, selector, body.policy.to_domain(), allowed)
    raise InvalidRequest("gate: either gate or policy is required, but not both", "gate")


async def list_decisions(request: web.Request) -> web.Response:
    """List decisions, newest first."""
    query, caller = parse_query(request, DecisionQuery), get_caller(request)
    filter_ = DecisionFilter(query.run_id, query.gate, query.decision, caller.project_id)
    cursors = Cursors(_DECISIONS, "decisions", caller.org_id, filter_._asdict())
    before = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        page = await decisions.list_page(connection, caller.org_id, filter_, before, query.limit)
    return reply_page(ListPage(page.rows, cursors.write(page.next)))


async def get_decision(request: web.Request) -> web.Response:
    """Get one decision."""
    ref = decision_ref(request)
    async with as_organization(request.app[RESOURCES].pool, ref.org_id) as connection:
        return reply_json(await usecase.find_decision(connection, ref))


async def waive_decision(request: web.Request) -> web.Response:
    """Let a blocked decision pass, with a reason."""
    ref, body, caller = decision_ref(request), await parse_body(request, WaiverIn), get_caller(request)

    async def waive(connection: Connection) -> web.Response:
        await usecase.waive_decision(connection, ref, body.reason, caller.key_id)
        return reply_json(await usecase.find_decision(connection, ref), 201, _location(ref))

    return await mutate(request, waive)


async def _decide(request: web.Request, selector: RunSelector, gate: str, allowed: AllowedParts) -> web.Response:
    org_id = get_caller(request).org_id

    async def change(connection: Connection) -> web.Response:
        decision = await usecase.decide(connection, org_id, selector, gate, allowed)
        return reply_json(decision.text, 201 if decision.created else 200, _location(decision.ref))

    return await mutate(request, change, one_snapshot=True, unchanged=200)


async def _decide_dry(
    request: web.Request, selector: RunSelector, policy: Policy, allowed: AllowedParts
) -> web.Response:
    org_id = get_caller(request).org_id
    async with as_organization(request.app[RESOURCES].pool, org_id) as connection, reading_snapshot(connection):
        return reply_json(await usecase.decide_dry(connection, org_id, selector, policy, allowed))


def _location(ref: DecisionRef) -> dict[str, str]:
    return {"Location": f"/v1/decisions/{ref.decision_id}"}


def decision_ref(request: web.Request) -> DecisionRef:
    """Return the decision of the path. Raises NotFound if the ID is malformed."""
    caller, decision_id = get_caller(request), request.match_info["id"]
    if not is_id("dec", decision_id):
        raise usecase.decision_not_found(decision_id)
    return DecisionRef(caller.org_id, decision_id, caller.project_id)
