"""Decisions of gates and of recorded policies: insertion, waiver, one decision, and a page of the list."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from service.contracts.gates import Decision
from service.domain.gates import DecisionOutcome
from service.domain.ids import OrgId
from service.store.postgres import composition
from service.store.postgres.composition import RUN_BUDGET, Statement, compose
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage, find_object, parse_page

_SQL: Final = statements("decisions")
_AFTER_ALL_IDS: Final = "dec_g"  # IDs continue with hex digits, so this sorts after all of them


class DecisionRef(NamedTuple):
    """A decision, and the project that it must belong to if the caller's key is bound to a project."""

    org_id: OrgId
    decision_id: str
    project_id: str | None = None


class DecisionFilter(NamedTuple):
    """The filters of the list of decisions."""

    run_id: str | None = None
    gate: str | None = None
    decision: DecisionOutcome | None = None
    project_id: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation of a policy for a run. `failures` is the number of failing results by change.

    `missing` contains the public fields about missing parts and cases. `truncated` is that of the comparison.
    """

    run_id: str
    revision: int
    policy: dict[str, float]
    baseline_run_id: str | None
    decision: DecisionOutcome
    rules: list[dict[str, Any]]
    failures: dict[str, int]
    missing: dict[str, Any]
    truncated: bool


class NamedGate(NamedTuple):
    """A gate with the version of its policy that was evaluated."""

    name: str
    version: int


class LockedDecision(NamedTuple):
    """What decides whether a decision can be waived. `gate` is None if it has no gate."""

    gate: str | None
    outcome: DecisionOutcome


class KnownDecision(NamedTuple):
    """A stored decision, with the digest of its inputs."""

    decision_id: str
    outcome: DecisionOutcome
    digest: bytes


async def find_by_digest(
    connection: Connection, org_id: OrgId, gate: NamedGate | None, digest: bytes
) -> KnownDecision | None:
    """Return the decision of a gate, or the decision without one, with these inputs, or None."""
    if gate is None:
        row = await connection.fetchrow(_SQL["find_recorded"], org_id, digest)
    else:
        row = await connection.fetchrow(_SQL["find_by_digest"], org_id, gate.name, digest)
    return KnownDecision(*row) if row else None


async def find_newest(
    connection: Connection, org_id: OrgId, gate: NamedGate | None, evaluation: Evaluation
) -> list[KnownDecision]:
    """Return the two newest decisions about the run, of the gate, or of the policy without one."""
    values = evaluation.run_id, gate and gate.name, evaluation.policy
    return [KnownDecision(*row) for row in await connection.fetch(_SQL["find_newest"], org_id, *values)]


async def insert(
    connection: Connection,
    ref: DecisionRef,
    gate: NamedGate | None,
    evaluation: Evaluation,
    digest: bytes,
    created_by: str,
) -> None:
    """Insert a decision of a project. Raises a conflict if another transaction inserts the same digest."""
    await connection.execute(
        _SQL["insert"], ref.org_id, ref.decision_id, ref.project_id, evaluation.run_id, evaluation.revision,
        *(gate or (None, None)),
        evaluation.policy, evaluation.baseline_run_id, evaluation.decision, evaluation.rules, evaluation.failures,
        evaluation.missing, evaluation.truncated, digest, created_by,
    )  # fmt: skip


async def lock(connection: Connection, ref: DecisionRef) -> LockedDecision | None:
    """Return the state of a decision, and lock its row until the transaction ends. None if it doesn't exist."""
    row = await connection.fetchrow(_SQL["lock"], *ref)
    return LockedDecision(*row) if row else None


async def waive(connection: Connection, ref: DecisionRef, reason: str, actor_id: str) -> None:
    """Add a waiver of this actor to a decision."""
    await connection.execute(_SQL["waive"], ref.org_id, ref.decision_id, reason, actor_id)


async def find_one(connection: Connection, ref: DecisionRef) -> Decision | None:
    """Return one decision, or None if it doesn't exist."""
    found: Decision | None = await find_object(connection, "one_decision", ref._asdict())
    return found


async def format_dry(connection: Connection, org_id: OrgId, gate: NamedGate | None, evaluation: Evaluation) -> Decision:
    """Return an evaluation as a decision that isn't stored."""
    name, version = gate or (None, None)
    values = {"org_id": org_id, "gate": name, "gate_version": version} | {
        name: getattr(evaluation, name) for name in evaluation.__dataclass_fields__
    }
    decision: Decision = await find_object(connection, "dry_decision", values)
    return decision


async def list_page(
    connection: Connection, org_id: OrgId, filter_: DecisionFilter, before: str | None, limit: int
) -> RowPage[Decision, str]:
    """Return the next decisions, newest first, after the one with the ID `before`.

    A page has fewer than `limit` if it is large or if the scan budget ends before the list does.
    """
    values = {"org_id": org_id, **filter_._asdict(), "before": before or _AFTER_ALL_IDS, "page": limit}
    return parse_page(await page_statement(filter_).fetch_row(connection, values))


def page_statement(filter_: DecisionFilter) -> Statement:
    """Return the statement for a filter. It uses the index that yields the fewest candidates."""
    return compose(
        "page_of_decisions", driver=_driver(filter_), listed="listed_decisions", row_budget=RUN_BUDGET,
        page_bytes=composition.MAX_PAGE_BYTES,
    )  # fmt: skip


def _driver(filter_: DecisionFilter) -> str:
    if filter_.run_id is not None:
        return "decisions_of_run"
    if filter_.gate is not None:
        return "decisions_of_gate"
    return "decisions_of_all" if filter_.project_id is None else "decisions_of_project"
