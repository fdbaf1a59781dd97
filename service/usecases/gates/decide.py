"""Decisions: the policy of a gate, or an inline policy, applied to a complete run, and waivers of decisions."""

from hashlib import sha256
from typing import NamedTuple

import orjson

from service.domain.comparison import BaselineChoice
from service.domain.errors import Conflict, NotFound
from service.domain.events import EventType, NewEvent
from service.domain.gates import FailureCounts, GatedRun, Policy, evaluate_policy
from service.domain.ids import OrgId, new_id
from service.domain.missing import AllowedParts, part_to_json
from service.store import decisions, events, gates
from service.store.decisions import DecisionRef, Evaluation, NamedGate
from service.store.postgres.database import Connection
from service.store.queries.runs import RunSelector
from service.usecases.gates.compare_runs import Comparison, compare_run
from service.usecases.gates.manage_gates import gate_not_found
from service.usecases.quarantines.glob_budget import GlobBudget


class StoredDecision(NamedTuple):
    """A decision as JSON. `created` is false if an earlier request with the same inputs stored it."""

    ref: DecisionRef
    text: str
    created: bool


async def decide(
    connection: Connection, org_id: OrgId, selector: RunSelector, gate_name: str, allowed: AllowedParts
) -> StoredDecision:
    """Apply a gate to a run, and store the decision with its events, unless a decision with the same inputs exists.

    Requires a notifying transaction that reads one snapshot. Raises NotFound for an unknown run or gate, and Conflict
    if the run isn't complete. Raises Unavailable if the globs of the quarantines or of `allowed` take too long.
    """
    comparison = await _compare_complete(connection, org_id, selector)
    gate = await gates.find_policy(connection, org_id, gate_name)
    if gate is None:
        raise gate_not_found(gate_name)
    evaluation = await _evaluate(comparison, gate.policy, allowed)
    digest = _digest(comparison, evaluation)
    stored_id = await decisions.find_by_digest(connection, org_id, gate_name, digest)
    ref = DecisionRef(org_id, stored_id or new_id("dec"), comparison.run.project_id)
    if stored_id is None:
        named = NamedGate(gate_name, gate.version)
        await decisions.insert(connection, ref, named, evaluation, digest)
    text = await find_decision(connection, ref)
    if stored_id is None:
        await _insert_events(connection, ref, text)
    return StoredDecision(ref, text, created=stored_id is None)


async def decide_dry(
    connection: Connection, org_id: OrgId, selector: RunSelector, policy: Policy, allowed: AllowedParts
) -> str:
    """Apply a policy to a run, and return the decision as JSON. Nothing is stored.

    All statements must read one snapshot. Raises NotFound, Conflict, and Unavailable like `decide`.
    """
    comparison = await _compare_complete(connection, org_id, selector)
    return await decisions.format_dry(connection, await _evaluate(comparison, policy, allowed))


async def waive_decision(connection: Connection, ref: DecisionRef, reason: str, key_id: str) -> None:
    """Let a blocked decision pass. Requires a transaction. Raises NotFound, and Conflict if it isn't blocked."""
    outcome = await decisions.lock(connection, ref)
    if outcome is None:
        raise decision_not_found(ref.decision_id)
    if outcome != "blocked":
        raise Conflict(f"decision {ref.decision_id!r} is {outcome}; only a blocked decision can be waived")
    await decisions.waive(connection, ref, reason, key_id)


async def find_decision(connection: Connection, ref: DecisionRef) -> str:
    """Return one decision as JSON. Raises NotFound."""
    text = await decisions.find_one(connection, ref)
    if text is None:
        raise decision_not_found(ref.decision_id)
    return text


def decision_not_found(decision_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization or project."""
    return NotFound(f"decision {decision_id[:100]!r} not found")


async def _compare_complete(connection: Connection, org_id: OrgId, selector: RunSelector) -> Comparison:
    comparison = await compare_run(connection, org_id, selector, BaselineChoice())
    if not comparison.run.complete:
        raise Conflict(f"run {selector.run_id!r} isn't complete")
    return comparison


def _digest(comparison: Comparison, evaluation: Evaluation) -> bytes:
    inputs = {"policy": evaluation.policy, "missing": evaluation.missing}
    return sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS) + comparison.digest()).digest()


async def _evaluate(comparison: Comparison, policy: Policy, allowed: AllowedParts) -> Evaluation:
    run, counts = comparison.run, comparison.failing_counts
    failures = FailureCounts(
        counts["new_failure"], counts["known_failure"], counts["flaky_failure"], counts["quarantined"]
    )
    missing = comparison.missing
    budget = GlobBudget("allow_missing_parts: comparing the globs with the missing parts")
    stated = ({**part_to_json(part), "allowed": allowed.contain(part)} for part in missing.parts)
    parts = [part async for part in budget.spread(stated)]
    unexpected = sum(not part["allowed"] for part in parts)
    gated = GatedRun(
        run.status, run.failures_missing, run.counts.passed, run.counts.flaky, failures, unexpected, missing.cases
    )
    rules = evaluate_policy(policy, gated)
    return Evaluation(
        run_id=run.run_id,
        revision=run.revision,
        policy=policy.set_fields(),
        baseline_run_id=comparison.baseline.run_id if comparison.baseline else None,
        decision="passed" if all(rule.passed for rule in rules) else "blocked",
        rules=[rule._asdict() for rule in rules],
        failures=failures._asdict(),
        missing={**missing.to_json(), "missing_parts": parts},
    )


async def _insert_events(connection: Connection, ref: DecisionRef, text: str) -> None:
    decision = orjson.loads(text)
    types: list[EventType] = ["gate.decided"]
    if decision["decision"] == "blocked":
        types.append("release.gate_blocked")
    await events.insert(
        connection,
        [NewEvent(ref.org_id, new_id("evt"), type_, ref.project_id, decision["run_id"], text) for type_ in types],
    )
