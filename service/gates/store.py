"""Gates with their policies and versions, and decisions with their waivers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from service.comparison.store import ComparedKeys
from service.database import pages
from service.database.database import Connection, Row
from service.database.pages import RowPage, find_object, parse_page
from service.database.statements import RUN_BUDGET, Statement, compose, statements
from service.domain.ids import CaseKey, OrgId, RunKey
from service.gates.contract import Decision, Excuse, GateOut
from service.gates.model import DecisionOutcome, DecisionSummary, FailureCounts, Policy, RunDecision
from service.runs.model import RunRow

_SQL: Final = statements("gates")

_AFTER_ALL_IDS: Final = "dec_g"  # IDs continue with hex digits, so this sorts after all of them
_DECISIONS: Final = 1_000  # of each run that are examined: usually one for each gate


class VersionedPolicy(NamedTuple):
    """A version of the policy of a gate."""

    version: int
    policy: Policy


async def put(connection: Connection, org_id: OrgId, name: str, policy: Policy) -> bool:
    """Create a gate or replace its policy. Return whether the gate didn't exist. Requires a transaction."""
    fields = policy.gate_fields()
    if await connection.fetchval(_SQL["insert"], org_id, name, fields):
        return True
    was_deleted: bool = await connection.fetchval(_SQL["lock"], org_id, name)
    await connection.execute(_SQL["replace"], org_id, name, fields)
    return was_deleted


async def delete(connection: Connection, org_id: OrgId, name: str) -> bool:
    """Delete a gate. Return False if it doesn't exist."""
    return await connection.fetchval(_SQL["delete"], org_id, name) is not None


async def find_policy(connection: Connection, org_id: OrgId, name: str) -> VersionedPolicy | None:
    """Return the current policy of a gate, or None if the gate doesn't exist."""
    row = await connection.fetchrow(_SQL["find"], org_id, name)
    return VersionedPolicy(row["version"], Policy(**row["policy"])) if row else None


async def find_gate(connection: Connection, org_id: OrgId, name: str) -> GateOut | None:
    """Return one gate, or None if it doesn't exist."""
    found: GateOut | None = await find_object(connection, "one_gate", {"org_id": org_id, "name": name})
    return found


async def list_gates(connection: Connection, org_id: OrgId, after: str | None, limit: int) -> RowPage[GateOut, str]:
    """Return the next gates in the order of their names."""
    values = {"org_id": org_id, "after": after or "", "page": limit}
    return parse_page(await compose("page_of_gates").fetch_row(connection, values))


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
        _SQL["insert_decision"], ref.org_id, ref.decision_id, ref.project_id, evaluation.run_id, evaluation.revision,
        *(gate or (None, None)),
        evaluation.policy, evaluation.baseline_run_id, evaluation.decision, evaluation.rules, evaluation.failures,
        evaluation.missing, evaluation.truncated, digest, created_by,
    )  # fmt: skip


async def lock(connection: Connection, ref: DecisionRef) -> LockedDecision | None:
    """Return the state of a decision, and lock its row until the transaction ends. None if it doesn't exist."""
    row = await connection.fetchrow(_SQL["lock_decision"], *ref)
    return LockedDecision(*row) if row else None


async def waive(connection: Connection, ref: DecisionRef, reason: str, actor_id: str) -> None:
    """Add a waiver of this actor to a decision."""
    await connection.execute(_SQL["waive"], ref.org_id, ref.decision_id, reason, actor_id)


async def find_decision(connection: Connection, ref: DecisionRef) -> Decision | None:
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


async def list_decisions(
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
        page_bytes=pages.MAX_PAGE_BYTES,
    )  # fmt: skip


def _driver(filter_: DecisionFilter) -> str:
    if filter_.run_id is not None:
        return "decisions_of_run"
    if filter_.gate is not None:
        return "decisions_of_gate"
    return "decisions_of_all" if filter_.project_id is None else "decisions_of_project"


async def find_by_run(
    connection: Connection, org_id: OrgId, runs: Sequence[RunRow]
) -> Mapping[RunKey, Sequence[RunDecision]]:
    """Return the newest decision of each gate and policy about the revision of each run, newest first.

    Runs without a decision are missing. The decisions can be those of a deleted run with the same ID.
    """
    values = {
        "org_id": org_id, "run_keys": [run.run_key for run in runs], "run_ids": [run.run_id for run in runs],
        "project_ids": [run.project_id for run in runs], "revisions": [run.revision for run in runs],
    }  # fmt: skip
    found: defaultdict[RunKey, list[RunDecision]] = defaultdict(list)
    for row in await statement().fetch_rows(connection, values):
        found[RunKey(row["run_key"])].append(_decision(row))
    return found


async def find_creation(connection: Connection, org_id: OrgId, keys: Sequence[RunKey]) -> Mapping[RunKey, datetime]:
    """Return when each of these runs was stored. Deleted runs are missing."""
    values = {"org_id": org_id, "run_keys": keys}
    rows = await compose("creation_of_runs").fetch_rows(connection, values)
    return {RunKey(row["run_key"]): row["created_at"] for row in rows}


def statement() -> Statement:
    """Return the statement that finds the decisions."""
    return compose("decisions_of_runs", run_decisions=_DECISIONS)


def _decision(row: Row) -> RunDecision:
    _, decision_id, decision, gate, revision, new, known, flaky, quarantined, missing, has_baseline, *others = row
    failures = FailureCounts(new, known, flaky, quarantined)
    summary = DecisionSummary(decision_id, decision, gate, revision, failures, missing, has_baseline)
    return RunDecision(summary, *others)


class PartOfUploads(NamedTuple):
    """The part of an upload. All uploads without a job name are one part."""

    name: str
    variant: Mapping[str, str]
    shard: int


class ExcusedUpload(NamedTuple):
    """A receipt whose upload is to be excused. `attempt` is None unless the request of the upload stated it."""

    receipt_id: str
    status: str
    results: int
    problems: Sequence[Mapping[str, Any]]
    part: PartOfUploads
    attempt: int | None


class NumberedPart(NamedTuple):
    """One attempt of a part, and what its newest event states."""

    number: int
    attempt: int
    is_newest: bool
    failures_missing: bool
    status: str | None


class PartCases(NamedTuple):
    """The cases of a part: their number, the failing ones, and those that the baseline executed and the run didn't."""

    results: int
    failing: int
    first_failing: Sequence[CaseKey]
    expected: int
    missing: int
    first_missing: Sequence[CaseKey]


async def find_uploads(
    connection: Connection, org_id: OrgId, project_id: str, run_id: str, receipt_ids: Sequence[str]
) -> dict[str, ExcusedUpload]:
    """Return the receipts of the run among these ones, by ID."""
    rows = await connection.fetch(_SQL["find_uploads"], org_id, project_id, run_id, receipt_ids)
    return {
        receipt_id: ExcusedUpload(receipt_id, status, results, problems, PartOfUploads(*part), attempt)
        for receipt_id, status, results, problems, *part, attempt in rows
    }


async def find_other_upload(
    connection: Connection, org_id: OrgId, run_id: str, uploads: Sequence[ExcusedUpload], attempts: Sequence[int]
) -> str | None:
    """Return a further receipt of the part and the attempts of the uploads, or None."""
    values = run_id, [upload.receipt_id for upload in uploads], *uploads[0].part, attempts
    found: str | None = await connection.fetchval(_SQL["find_other_upload"], org_id, *values)
    return found


async def find_numbers(
    connection: Connection, org_id: OrgId, run_key: RunKey, part: PartOfUploads
) -> list[NumberedPart]:
    """Return the attempts of a part in a run."""
    return [NumberedPart(*row) for row in await connection.fetch(_SQL["find_numbers"], org_id, run_key, *part)]


async def find_runs_of_part(
    connection: Connection, org_id: OrgId, run_keys: Sequence[RunKey], part: PartOfUploads
) -> set[RunKey]:
    """Return the runs that have results of a part."""
    return {RunKey(row[0]) for row in await connection.fetch(_SQL["find_runs_of_part"], org_id, run_keys, *part)}


async def read_part(
    connection: Connection, keys: ComparedKeys, numbers: Sequence[Sequence[int]], limits: tuple[int, int]
) -> PartCases:
    """Return the cases of a part with these numbers: of all attempts, of the newest ones, and in the baseline.

    `limits` are the numbers of failing and of missing cases to list.
    """
    rows = await connection.fetch(_SQL["read_part"], *keys, *numbers, *limits)
    return PartCases(*rows[0])


async def find_outside(
    connection: Connection, org_id: OrgId, run_key: RunKey, cases: Sequence[CaseKey], pattern: str, property_name: str
) -> set[CaseKey]:
    """Return the cases with a failing attempt whose type or message matches a pattern, or that has a property."""
    values = org_id, run_key, cases, pattern, property_name
    return {row[0] for row in await connection.fetch(_SQL["find_outside"], *values)}


async def insert_excuse(
    connection: Connection, ref: tuple[OrgId, str, str, str], document: Mapping[str, Any], digest: bytes, actor_id: str
) -> None:
    """Insert an excuse. Raises a conflict if another transaction inserts the same digest."""
    await connection.execute(_SQL["insert_excuse"], *ref, document, digest, actor_id)


async def find_excuse(connection: Connection, org_id: OrgId, digest: bytes) -> Excuse | None:
    """Return the excuse with this digest, or None."""
    found: Excuse | None = await find_object(connection, "one_excuse", {"org_id": org_id, "digest": digest})
    return found


async def list_excuses(
    connection: Connection, org_id: OrgId, project_id: str, run_id: str, limit: int
) -> Sequence[Excuse]:
    """Return the newest excuses of a run of a project, newest first."""
    values = {"org_id": org_id, "project_id": project_id, "run_id": run_id, "page": limit}
    found: Sequence[Excuse] = await find_object(connection, "newest_excuses", values)
    return found
