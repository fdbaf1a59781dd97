"""Handlers for gates. Gates belong to the organization, so a key that is bound to a project can only read them."""

import re
from typing import Final

from aiohttp import web

from service.comparison.model import AllowedParts
from service.contracts.queries import PageQuery, WaitQuery
from service.domain.errors import InvalidRequest
from service.gates import operations
from service.gates.contract import (
    Decision,
    DecisionQuery,
    DecisionRequest,
    Excuse,
    ExcuseRequest,
    GateIn,
    GateOut,
    WaiverIn,
)
from service.gates.excuse_part import excuse_part
from service.gates.model import MAX_GATE_NAME
from service.http.authentication import get_caller
from service.http.mutations import mutate, mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import Operation, Route, page_of
from service.http.waiting import requested_wait_s
from service.mutations.operations import Transaction
from service.runs.api import wait_for_run

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


async def list_gates(request: web.Request) -> web.Response:
    """List gates in the order of their names."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await operations.list_gates(request.app[RESOURCES].pool, caller, query))


async def get_gate(request: web.Request) -> web.Response:
    """Get one gate."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await operations.find_gate(pool, caller, request.match_info["name"]))


async def put_gate(request: web.Request) -> web.Response:
    """Create a gate, or replace its policy."""
    org_id = operations.organization_of_gates(get_caller(request))
    name, body = _new_name(request), await parse_body(request, GateIn)

    async def put(transaction: Transaction) -> web.Response:
        created = await operations.put_gate(transaction, org_id, name, body.policy.to_domain())
        headers = {"Location": f"/v1/gates/{name}"} if created else None
        return reply(await operations.read_gate(transaction, org_id, name), 201 if created else 200, headers)

    return await mutate(request, put)


def _new_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not _NAME.fullmatch(name) or len(name) > MAX_GATE_NAME:
        raise InvalidRequest(
            f"name: must have 1 to {MAX_GATE_NAME} letters, digits, and . _ -, and start with a letter or digit", "name"
        )
    return name


async def delete_gate(request: web.Request) -> web.Response:
    """Delete a gate. The decisions of the gate remain."""
    org_id, name = operations.organization_of_gates(get_caller(request)), request.match_info["name"]
    operations.check_stored_name(name)
    return await mutate_object(request, operations.delete_gate, org_id, name)


async def list_decisions(request: web.Request) -> web.Response:
    """List decisions, newest first."""
    query, caller = parse_query(request, DecisionQuery), get_caller(request)
    return reply_page(await operations.list_decisions(request.app[RESOURCES].pool, caller, query))


async def get_decision(request: web.Request) -> web.Response:
    """Get one decision."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await operations.find_decision(pool, caller, request.match_info["id"]))


async def create_decision(request: web.Request) -> web.Response:
    """Apply a gate, or an inline policy, to a run. With `wait`, wait until the run is complete."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    wait_s, body = requested_wait_s(request), await parse_body(request, DecisionRequest)
    rules, allowed = body.rules(), AllowedParts(body.allow_missing_parts)
    await wait_for_run(request, wait_s)
    if not isinstance(rules, str) and not body.record:
        return reply(await operations.decide_dry(request.app[RESOURCES].pool, caller, run_id, rules, allowed))

    async def decide(transaction: Transaction) -> web.Response:
        decided = await operations.decide(transaction, caller, run_id, rules, allowed)
        stored_id = decided.decision["id"]
        location = {"Location": f"/v1/decisions/{stored_id}"} if stored_id else None
        return reply(decided.decision, 201 if decided.is_new else 200, location)

    return await mutate(request, decide, one_snapshot=True, unchanged=200)


async def waive_decision(request: web.Request) -> web.Response:
    """Let a blocked decision pass, with a reason."""
    caller = get_caller(request)
    body, ref = await parse_body(request, WaiverIn), operations.decision_ref(caller, request.match_info["id"])
    return await mutate_object(
        request, operations.waive_decision, ref, body.reason, caller.actor_id, status=201, collection="/v1/decisions"
    )


async def create_excuse(request: web.Request) -> web.Response:
    """State whether all failures of a part of a run are quarantined, so that its job may pass."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    body = await parse_body(request, ExcuseRequest)

    async def excuse(transaction: Transaction) -> web.Response:
        excused = await excuse_part(transaction, caller, run_id, body)
        return reply(excused.excuse, 201 if excused.is_new else 200)

    return await mutate(request, excuse, one_snapshot=True, unchanged=200)


ROUTES: Final = (
    Route("GET", "/gates", list_gates, "results:read", Operation(
        "list_gates", "List gates in the order of their names", page_of(GateOut), PageQuery,
    )),
    Route("GET", "/gates/{name}", get_gate, "results:read", Operation(
        "get_gate", "Get a gate", {200: GateOut}, errors=("not_found",),
    )),
    Route("PUT", "/gates/{name}", put_gate, "gates:manage", Operation(
        "put_gate", "Create a gate, or replace its policy", {200: GateOut, 201: GateOut}, body=GateIn,
        description="The version increases only if the policy changes, and never restarts, not even after a deletion.",
    )),
    Route("DELETE", "/gates/{name}", delete_gate, "gates:manage", Operation(
        "delete_gate", "Delete a gate", {204: None}, errors=("not_found",), description="Decisions of the gate remain.",
    )),
    Route("POST", "/runs/{run_id}/decisions", create_decision, "results:read", Operation(
        "create_decision", "Apply a gate or an inline policy to a run", {200: Decision, 201: Decision},
        WaitQuery, body=DecisionRequest, errors=("not_found", "conflict", "gone"),
        description="Responds with 201 if this request stored the decision, and with 200 if the newest decision of the"
        " gate about the run, or a waived one, has the same inputs. Storing requires the permission reports:create, and"
        " the key of a CI job stores only decisions about runs of its pipeline and branch. Otherwise, and for an inline"
        " policy without `record`, the decision is a dry run: 200, and its `id` is null. With `wait`, waits until the"
        " run is complete.",
    )),
    Route("POST", "/runs/{run_id}/excuses", create_excuse, "reports:create", Operation(
        "create_excuse", "State whether all failures of a job are quarantined, so that it may pass",
        {200: Excuse, 201: Excuse}, body=ExcuseRequest, errors=("not_found", "conflict", "gone"),
        description="Responds with 201 if this request stored the excuse, and with 200 if an earlier one had the same"
        " inputs and outcome. The run can be incomplete. The key of a CI job excuses only runs of its pipeline and"
        " branch. Quarantines with globs, and quarantines of another variant, never excuse a job.",
    )),
    Route("GET", "/decisions", list_decisions, "results:read", Operation(
        "list_decisions", "List decisions, newest first", page_of(Decision), DecisionQuery,
    )),
    Route("GET", "/decisions/{id}", get_decision, "results:read", Operation(
        "get_decision", "Get a decision", {200: Decision}, errors=("not_found",),
    )),
    Route("POST", "/decisions/{id}/waiver", waive_decision, "gates:manage", Operation(
        "waive_decision", "Let a blocked decision of a gate pass", {201: Decision}, body=WaiverIn,
        errors=("not_found", "conflict"),
    )),
)  # fmt: skip
