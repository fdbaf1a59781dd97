"""Automatic quarantine: after an update of states, the policy of a project quarantines flaky cases and releases others.

Requires a transaction with the role results_worker.
"""

from collections.abc import Sequence
from datetime import datetime

from service.comparison.model import RECENT_RUNS, largest_complete
from service.database.database import Connection
from service.domain.ids import CaseKey, OrgId
from service.evidence.model import describe_evidence
from service.log import log
from service.mutations import store as mutations_store
from service.projects import store as projects_store
from service.projects.contract import AutoQuarantineStatus
from service.projects.store import ProjectRef
from service.quarantines import store
from service.quarantines.model import (
    MAX_ACTIVE,
    MAX_RELEASE_RUNS,
    POLICY,
    CaseMatcher,
    PolicyQuarantine,
    QuarantinePolicy,
)
from service.quarantines.operations import insert_quarantine
from service.quarantines.store import QuarantineFields
from service.retention import store as retention_store
from service.states import store as states_store
from service.states.model import ShownState
from service.states.read_states import find_shown


async def apply_policy(connection: Connection, org_id: OrgId, project_id: str) -> None:
    """Quarantine, renew, and release cases by the policy of a project. Without a policy, nothing happens."""
    found = await projects_store.lock_policy(connection, org_id, project_id)
    if found is None:
        return
    branch, policy = found[0], QuarantinePolicy(**found[1])
    count = await store.count_for_insert(connection, org_id, project_id)
    of_policy, excluded = await store.find_of_cases(connection, org_id, project_id)
    states = await states_store.find_unhealthy(connection, org_id, project_id)
    runs = await states_store.find_run_keys(connection, org_id, project_id, MAX_RELEASE_RUNS) if of_policy else []
    executed = await states_store.find_executed(connection, org_id, project_id, RECENT_RUNS)
    complete = largest_complete(executed)
    limit = min(policy.find_limit(complete), len(of_policy) + MAX_ACTIVE - count)
    now = await retention_store.read_clock(connection)
    decision = policy.decide(states, of_policy, excluded, runs, limit, now)
    await _change(connection, org_id, decision.changed)
    if decision.created:
        await _create(connection, (org_id, project_id), branch, decision.created, now + policy.duration)
    status: AutoQuarantineStatus = {"active": decision.active, "limit": limit, "waiting": decision.waiting}
    is_changed = await projects_store.set_policy_status(connection, org_id, project_id, status)
    if is_changed and decision.waiting:
        log.warning("auto_quarantine_limited", org_id=org_id, project_id=project_id, **status)


async def _change(connection: Connection, org_id: OrgId, changed: Sequence[PolicyQuarantine]) -> None:
    await store.change_of_policy(connection, org_id, changed)
    for quarantine in changed:
        if quarantine.is_ended:
            await mutations_store.insert_entry(connection, org_id, POLICY, "quarantines end", quarantine.quarantine_id)


async def _create(
    connection: Connection, ref: ProjectRef, branch: str, cases: Sequence[CaseKey], expires_at: datetime
) -> None:
    for case, state in (await find_shown(connection, ref[0], cases)).items():
        fields = QuarantineFields(_explain(state, branch), None, None, expires_at)
        created = await insert_quarantine(connection, *ref, CaseMatcher(case), fields, POLICY)
        await mutations_store.insert_entry(connection, ref[0], POLICY, "quarantines create", created["id"])


def _explain(state: ShownState, branch: str) -> str:
    evidence = describe_evidence({**state._asdict(), "failing_since_run_id": None}, branch)
    environment = f" in the environment {state.environment}" if state.environment else ""
    return f"{evidence}{environment}; renewed by the policy of the project while the case is flaky"
