"""Gates and decisions for a caller: a policy, of a gate or of a request, applied to a complete run, and waivers."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

from service.comparison.compare_runs import Comparison, compare_run
from service.comparison.contract import write_missing, write_missing_part
from service.comparison.model import AllowedParts, BaselineChoice, ComparedRun
from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.database.transactions import reading_snapshot
from service.domain.cursors import TEXT, Cursors, ids
from service.domain.errors import Conflict, Forbidden, NotFound
from service.domain.ids import OrgId, new_id
from service.domain.object_kinds import ObjectKind
from service.domain.texts import is_storable, replace_unstorable
from service.events import store as events_store
from service.events.model import EventType, NewEvent
from service.gates import store
from service.gates.contract import Decision, DecisionQuery, GateOut
from service.gates.model import FailureCounts, GatedRun, Policy, evaluate_policy
from service.gates.store import DecisionFilter, DecisionRef, Evaluation, KnownDecision, NamedGate
from service.identity.keys.model import Caller, permissions_of
from service.quarantines.find_excused import GlobBudget
from service.runs.operations import check_run_of_job, select_run

_DECISION: Final = ObjectKind("decision", "dec")


async def list_gates(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[GateOut]:
    """Return gates in the order of their names. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, after: str | None) -> RowPage[GateOut, str]:
        return await store.list_gates(connection, caller.org_id, after, query.limit)

    cursors = Cursors(TEXT, "gates", caller.org_id, {})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_gate(pool: Pool, caller: Caller, name: str) -> GateOut:
    """Return one gate. Raises NotFound."""
    check_stored_name(name)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_gate(connection, caller.org_id, name)


async def read_gate(connection: Connection, org_id: OrgId, name: str) -> GateOut:
    """Return one gate. Raises NotFound."""
    gate = await store.find_gate(connection, org_id, name)
    if gate is None:
        raise _gate_not_found(name)
    return gate


async def put_gate(connection: Connection, org_id: OrgId, name: str, policy: Policy) -> bool:
    """Create a gate or replace its policy, and return whether it is new. The version rises only with the policy."""
    return await store.put(connection, org_id, name, policy)


async def delete_gate(connection: Connection, org_id: OrgId, name: str) -> None:
    """Delete a gate. The decisions of the gate remain."""
    if not await store.delete(connection, org_id, name):
        raise _gate_not_found(name)


def organization_of_gates(caller: Caller) -> OrgId:
    """Return the organization whose gates the caller can change. Raises Forbidden if its key is bound to a project."""
    if caller.project_id is not None:
        raise Forbidden(
            f"this key is bound to the project {caller.project_id!r}, and gates belong to the organization; use a key"
            " without a project"
        )
    return caller.org_id


def check_stored_name(name: str) -> None:
    """Raise NotFound if PostgreSQL can't store the name, so that no gate has it."""
    if not is_storable(name):
        raise _gate_not_found(name)


def _gate_not_found(name: str) -> NotFound:
    """Return the same error for a gate that is unknown or of another organization."""
    return NotFound(f"gate {replace_unstorable(name[:100])!r} not found")


async def list_decisions(pool: Pool, caller: Caller, query: DecisionQuery) -> ListPage[Decision]:
    """Return decisions, newest first. Raises InvalidRequest for a cursor of another list."""
    filter_ = DecisionFilter(query.run_id, query.gate, query.decision, caller.project_id)

    async def read(connection: Connection, before: str | None) -> RowPage[Decision, str]:
        return await store.list_decisions(connection, caller.org_id, filter_, before, query.limit)

    cursors = Cursors(ids("dec"), "decisions", caller.org_id, filter_._asdict())
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_decision(pool: Pool, caller: Caller, decision_id: str) -> Decision:
    """Return one decision. Raises NotFound."""
    ref = decision_ref(caller, decision_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_decision(connection, ref)


async def read_decision(connection: Connection, ref: DecisionRef) -> Decision:
    """Return one decision. Raises NotFound."""
    return _DECISION.require(await store.find_decision(connection, ref), ref.decision_id)


def decision_ref(caller: Caller, decision_id: str) -> DecisionRef:
    """Return the reference to a decision that the caller can see. Raises NotFound if the ID is malformed."""
    return DecisionRef(caller.org_id, _DECISION.check_id(decision_id), caller.project_id)


class Decided(NamedTuple):
    """A decision. `is_new` is false if an earlier request with the same inputs stored it, or if it isn't stored."""

    decision: Decision
    is_new: bool


async def decide(
    connection: Connection, caller: Caller, run_id: str, rules: str | Policy, allowed: AllowedParts
) -> Decided:
    """Apply a gate, given by its name, or a policy to a run, and return the decision.

    It's stored, with its events if it has a gate, unless a waived one or the newest one has the same inputs. If the
    caller can't store decisions about the run, the result is the waived one, or a dry run. Requires a notifying
    transaction that reads one snapshot. Raises NotFound for an unknown run or gate, and Conflict if the run isn't
    trusted or complete. Raises Unavailable if the globs of the quarantines or of `allowed` take too long.
    """
    comparison, org_id = await _compare_complete(connection, caller, run_id), caller.org_id
    gate, policy = await _find_rules(connection, org_id, rules)
    evaluation = await _evaluate(comparison, policy, allowed)
    digest = _digest(comparison, evaluation)
    stored = await store.find_by_digest(connection, org_id, gate, digest)
    if stored is None or stored.outcome != "waived":
        if not await _can_store(connection, caller, run_id):
            return Decided(await store.format_dry(connection, org_id, gate, evaluation), is_new=False)
        if stored is not None:
            newest = await store.find_newest(connection, org_id, gate, evaluation)
            stored, digest = _find_repeated(digest, stored, newest)
    ref = DecisionRef(org_id, stored.decision_id if stored else new_id("dec"), comparison.run.project_id)
    if stored is None:
        await store.insert(connection, ref, gate, evaluation, digest, caller.actor_id)
    decision = await read_decision(connection, ref)
    if stored is None and gate is not None:
        await _insert_events(connection, ref, decision, comparison.run.branch)
    return Decided(decision, is_new=stored is None)


async def decide_dry(pool: Pool, caller: Caller, run_id: str, policy: Policy, allowed: AllowedParts) -> Decision:
    """Apply a policy to a run, and return the decision. Nothing is stored.

    Raises NotFound, Conflict, and Unavailable like `decide`.
    """
    async with as_organization(pool, caller.org_id) as connection, reading_snapshot(connection):
        comparison = await _compare_complete(connection, caller, run_id)
        evaluation = await _evaluate(comparison, policy, allowed)
        return await store.format_dry(connection, caller.org_id, None, evaluation)


async def waive_decision(connection: Connection, ref: DecisionRef, reason: str, actor_id: str) -> Decision:
    """Let a blocked decision of a gate pass. Requires a transaction.

    Raises NotFound, and Conflict if the decision isn't blocked, or applies a policy without a gate.
    """
    locked = _DECISION.require(await store.lock(connection, ref), ref.decision_id)
    if locked.gate is None:
        raise Conflict(
            f"decision {ref.decision_id!r} records the policy of a request; only a decision of a gate can be waived"
        )
    if locked.outcome != "blocked":
        raise Conflict(f"decision {ref.decision_id!r} is {locked.outcome}; only a blocked decision can be waived")
    await store.waive(connection, ref, reason, actor_id)
    return await read_decision(connection, ref)


async def _compare_complete(connection: Connection, caller: Caller, run_id: str) -> Comparison:
    comparison = await compare_run(connection, caller.org_id, select_run(caller, run_id), BaselineChoice())
    check_trusted(comparison.run)
    if not comparison.run.complete:
        raise Conflict(f"run {run_id!r} isn't complete")
    return comparison


def check_trusted(run: ComparedRun) -> None:
    """Raise Conflict if the run isn't trusted."""
    if not run.trusted:
        raise Conflict(f"run {run.run_id!r} isn't trusted; promote it first: POST /v1/runs/{{run_id}}/promote")


async def _find_rules(connection: Connection, org_id: OrgId, rules: str | Policy) -> tuple[NamedGate | None, Policy]:
    """Return the gate with this name and its policy, or the policy without a gate. Raises NotFound."""
    if isinstance(rules, Policy):
        return None, rules
    gate = await store.find_policy(connection, org_id, rules)
    if gate is None:
        raise _gate_not_found(rules)
    return NamedGate(rules, gate.version), gate.policy


async def _evaluate(comparison: Comparison, policy: Policy, allowed: AllowedParts) -> Evaluation:
    run, counts = comparison.run, comparison.failing_counts
    failures = FailureCounts(
        counts["new_failure"], counts["known_failure"], counts["flaky_failure"], counts["quarantined"]
    )
    missing = comparison.missing
    budget = GlobBudget("allow_missing_parts: comparing the globs with the missing parts")
    stated = ({**write_missing_part(part), "allowed": allowed.contain(part)} for part in missing.parts)
    parts = [part async for part in budget.spread(stated)]
    unexpected = sum(not part["allowed"] for part in parts)
    gated = GatedRun(
        run.status, run.failures_missing, run.counts.passed, run.counts.flaky, failures, unexpected, missing.cases,
        None if missing.items is None else len(missing.items), missing.splits is None or bool(missing.splits),
    )  # fmt: skip
    rules = evaluate_policy(policy, gated)
    return Evaluation(
        run_id=run.run_id,
        revision=run.revision,
        policy=policy.set_fields(),
        baseline_run_id=comparison.baseline.run_id if comparison.baseline else None,
        decision="passed" if all(rule.passed for rule in rules) else "blocked",
        rules=[rule._asdict() for rule in rules],
        failures=failures._asdict(),
        missing={**write_missing(missing), "missing_parts": parts},
        truncated=comparison.truncated,
    )


def _digest(comparison: Comparison, evaluation: Evaluation) -> bytes:
    inputs = {"policy": evaluation.policy, "missing": evaluation.missing}
    return sha256(orjson.dumps(inputs, option=orjson.OPT_SORT_KEYS) + comparison.digest()).digest()


async def _can_store(connection: Connection, caller: Caller, run_id: str) -> bool:
    """Return whether the caller can store decisions about the run: as an uploader, and a CI job only about its own run.

    A stored decision is the one that lists and pages show. For example, a job of a pull request could otherwise let the
    run of `main` pass, with all parts allowed to be missing.
    """
    try:
        await check_run_of_job(connection, caller, run_id)
    except Forbidden:
        return False
    return "reports:create" in permissions_of(caller.role)


def _find_repeated(
    digest: bytes, stored: KnownDecision, newest: Sequence[KnownDecision]
) -> tuple[KnownDecision | None, bytes]:
    """Return the decision to repeat, or None, and the digest of a new one.

    If other inputs were decided after `stored`, the same inputs get a new decision, because the newest decision of a
    gate is the one that counts. For example, a quarantine let the run pass, and ended. The digest of the new decision
    contains the ID of the newest one, so that it is stored once.
    """
    if stored.decision_id == newest[0].decision_id:
        return stored, digest
    if newest[0].digest == _digest_after(digest, newest[1]):
        return newest[0], digest
    return None, _digest_after(digest, newest[0])


def _digest_after(digest: bytes, previous: KnownDecision) -> bytes:
    return sha256(digest + previous.decision_id.encode()).digest()


async def _insert_events(connection: Connection, ref: DecisionRef, decision: Decision, branch: str | None) -> None:
    types: list[EventType] = ["gate.decided"]
    if decision["decision"] == "blocked":
        types.append("release.gate_blocked")
    data = orjson.dumps(decision).decode()
    await events_store.insert(
        connection,
        [
            NewEvent(ref.org_id, new_id("evt"), one, ref.project_id, decision["run_id"], data, None, branch)
            for one in types
        ],
    )
