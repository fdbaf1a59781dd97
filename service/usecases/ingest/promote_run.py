"""Promotion of an untrusted run by a trusted job, which states the commit that it has reviewed."""

from dataclasses import replace
from typing import NamedTuple

from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.domain.runs import FieldVersions
from service.store import cases, failure_groups, runs
from service.store.postgres.database import Connection
from service.store.runs import StoredRun
from service.usecases.ingest.emit_events import RunChange, emit_run_events


class Promotion(NamedTuple):
    """What the trusted job knows about the run: its commit, and the pull request and its target branch, if any.

    `revision` is the one that somebody has reviewed, or None if nobody has.
    """

    commit_sha: str
    pull_request: str | None = None
    base_branch: str | None = None
    revision: int | None = None


async def promote_run(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, promotion: Promotion, link_base: str
) -> None:
    """Make an untrusted run trusted, in the caller's notifying transaction. A trusted run stays unchanged.

    The lock of the run makes concurrent uploads of the run wait, which are then rejected. If `project_id` is set, only
    a run of this project is found. Raises NotFound, and Conflict if the run has another commit or revision.
    """
    run = (await runs.lock(connection, [(org_id, run_id)])).get((org_id, run_id))
    if run is None or project_id not in (None, run.state.project_id):
        raise NotFound(f"run {run_id[:100]!r} not found")
    if (stated := run.fields.get("commit_sha")) != promotion.commit_sha:
        raise Conflict(f"commit_sha: the run is of {_name(stated)}, so it can't be promoted for another commit")
    if run.trusted:
        return
    if promotion.revision not in (None, run.revision):
        raise Conflict(f"revision: the run has changed since the revision {promotion.revision}; review it again")
    run.state = replace(run.state, field_versions=_field_versions(run, promotion))
    run.trusted = True
    run.revision += 1
    await runs.promote(connection, run)
    await cases.trust_cases_of_run(connection, *run.key_ref)
    await failure_groups.insert_minutes_of_run(connection, *run.key_ref)
    await emit_run_events(connection, [RunChange(run, completed=run.complete)], link_base)


def _field_versions(run: StoredRun, promotion: Promotion) -> FieldVersions:
    """Return the fields of the promoted run. An upload can state any target branch, so only the job's counts.

    With a target branch whose runs have the same failures, a gate would not block the run.
    """
    known = run.state.field_versions
    event_s = max((version for version, _ in known.values()), default=0)
    pull_request = promotion.pull_request or run.fields.get("pull_request")
    return {**known, "pull_request": (event_s, pull_request), "base_branch": (event_s, promotion.base_branch)}


def _name(commit_sha: str | None) -> str:
    return f"the commit {commit_sha[:100]!r}" if commit_sha else "no commit"
