"""Handlers for decisions of gates and their waivers."""

from aiohttp import web

from service.api.handlers.runs import wait_for_run
from service.api.http.authentication import get_caller
from service.api.http.long_polling import requested_wait_s
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.gates import Decision, DecisionQuery, DecisionRequest, WaiverIn
from service.domain.missing import AllowedParts
from service.usecases.administration.mutate import Transaction
from service.usecases.gates import decide as usecase
from service.usecases.lists import list_decisions as read_list


async def create_decision(request: web.Request) -> web.Response:
    """Apply a gate, or an inline policy, to a run. With `wait`, wait until the run is complete."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    wait_s, body = requested_wait_s(request), await parse_body(request, DecisionRequest)
    rules, allowed = body.rules(), AllowedParts(body.allow_missing_parts)
    await wait_for_run(request, wait_s)
    if not isinstance(rules, str) and not body.record:
        return reply(await usecase.decide_dry(request.app[RESOURCES].pool, caller, run_id, rules, allowed))

    async def decide(transaction: Transaction) -> web.Response:
        decided = await usecase.decide(transaction, caller, run_id, rules, allowed)
        return reply(decided.decision, 201 if decided.is_new else 200, _location(decided.decision))

    return await mutate(request, decide, one_snapshot=True, unchanged=200)


async def list_decisions(request: web.Request) -> web.Response:
    """List decisions, newest first."""
    query, caller = parse_query(request, DecisionQuery), get_caller(request)
    return reply_page(await read_list.list_decisions(request.app[RESOURCES].pool, caller, query))


async def get_decision(request: web.Request) -> web.Response:
    """Get one decision."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await read_list.find_decision(pool, caller, request.match_info["id"]))


async def waive_decision(request: web.Request) -> web.Response:
    """Let a blocked decision pass, with a reason."""
    caller = get_caller(request)
    body, ref = await parse_body(request, WaiverIn), usecase.decision_ref(caller, request.match_info["id"])

    async def waive(transaction: Transaction) -> web.Response:
        decision = await usecase.waive_decision(transaction, ref, body.reason, caller.actor_id)
        return reply(decision, 201, _location(decision))

    return await mutate(request, waive)


def _location(decision: Decision) -> dict[str, str]:
    return {"Location": f"/v1/decisions/{decision['id']}"} if decision["id"] else {}
