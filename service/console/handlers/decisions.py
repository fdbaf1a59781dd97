"""Decisions by forms: a gate is applied to a run, and a blocked decision is waived."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.console.changes import Unchanged, apply_change
from service.console.forms import get_form
from service.console.pages import page_url
from service.contracts.gates import GateName, WaiverIn
from service.contracts.queries import Query
from service.domain.missing import AllowedParts
from service.usecases.administration.mutate import Transaction
from service.usecases.gates import decide as usecase


class DecisionForm(Query):
    """The gate to apply."""

    gate: GateName


async def create_decision(request: web.Request) -> web.Response:
    """Apply a gate to the run, and return to its page. A decision that is already stored is no change."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    gate = parse_pairs(get_form(request), DecisionForm, "field").gate
    path = page_url(request.app, "run", run_id=run_id)

    async def decide(transaction: Transaction) -> str | Unchanged:
        decided = await usecase.decide(transaction, caller, run_id, gate, AllowedParts())
        return path if decided.is_new else Unchanged(path)

    return await apply_change(request, caller, decide, one_snapshot=True)


async def waive_decision(request: web.Request) -> web.Response:
    """Let a blocked decision pass, with a reason, and return to the page of its run."""
    caller = get_caller(request)
    ref = usecase.decision_ref(caller, request.match_info["id"])
    reason = parse_pairs(get_form(request), WaiverIn, "field").reason

    async def waive(transaction: Transaction) -> str:
        decision = await usecase.waive_decision(transaction, ref, reason, caller.actor_id)
        return page_url(request.app, "run", run_id=decision["run_id"])

    return await apply_change(request, caller, waive)
