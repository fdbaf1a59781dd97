"""Queries for the newest decisions about the runs of a page."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from service.domain.gates import DecisionSummary, FailureCounts, RunDecision
from service.domain.ids import OrgId, RunKey
from service.domain.rows import RunRow
from service.store.postgres.composition import Statement, compose
from service.store.postgres.database import Connection, Row

_DECISIONS: Final = 1_000  # of each run that are examined: usually one for each gate


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
