"""Decisions by forms: a gate is applied to a run, and a blocked decision is waived."""

from typing import Final

from aiohttp import web

from service.comparison.model import AllowedParts
from service.console.forms import Unchanged, apply_change, get_form, parse_form
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_url
from service.contracts.queries import Query
from service.gates import operations
from service.gates.contract import GateName, WaiverIn
from service.http.authentication import get_caller
from service.mutations.operations import Transaction


class DecisionForm(Query):
    """The gate to apply."""

    gate: GateName


async def create_decision(request: web.Request) -> web.Response:
    """Apply a gate to the run, and return to its page. A decision that is already stored is no change."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    gate = parse_form(get_form(request), DecisionForm).gate
    path = page_url(request.app, "run", run_id=run_id)

    async def decide(transaction: Transaction) -> str | Unchanged:
        decided = await operations.decide(transaction, caller, run_id, gate, AllowedParts())
        return path if decided.is_new else Unchanged(path)

    return await apply_change(request, caller, decide, one_snapshot=True)


async def waive_decision(request: web.Request) -> web.Response:
    """Let a blocked decision pass, with a reason, and return to the page of its run."""
    caller = get_caller(request)
    ref = operations.decision_ref(caller, request.match_info["id"])
    reason = parse_form(get_form(request), WaiverIn).reason

    async def waive(transaction: Transaction) -> str:
        decision = await operations.waive_decision(transaction, ref, reason, caller.actor_id)
        return page_url(request.app, "run", run_id=decision["run_id"])

    return await apply_change(request, caller, waive)


ROUTES: Final = (
    ConsoleRoute("decide", "/console/runs/{run_id}/decisions", post=page("reports:create", create_decision)),
    ConsoleRoute("waive", "/console/decisions/{id}/waiver", post=page("gates:manage", waive_decision)),
)
