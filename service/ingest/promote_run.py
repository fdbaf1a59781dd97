"""Promotion of an untrusted run by a trusted job, which states the commit and the reports of the job of the fork.

Anybody can add reports to an untrusted run, or send its first one, which states its time. So nothing of it becomes
trusted: a new run replaces it, and the workers store the named reports again, as reports of a trusted run.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from service.database.database import Connection
from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.domain.statuses import Counts
from service.events import outbox
from service.ingest.parse_events import aware, to_ms
from service.ingest.run_changes import RunChange, emit_run_events
from service.reports import store as reports_store
from service.reports.model import Upload
from service.reports.store import ReportOfRun
from service.retention import store as retention_store
from service.runs import store as runs_store
from service.runs.model import UNTRUSTED_PREFIX, FieldVersions, RunState
from service.runs.store import StoredRun
from service.tasks.model import REPORTS


class Promotion(NamedTuple):
    """What the trusted job knows about the run: its commit, its receipts, and the pull request and its target branch.

    `revision` is the reviewed one, or None without a review. The reviewed reports never change, and the
    promotion discards everything else. So a later revision, which strangers can cause at any time, is no conflict.
    """

    commit_sha: str
    receipts: Sequence[str]
    pull_request: str | None = None
    base_branch: str | None = None
    revision: int | None = None


async def promote_run(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, promotion: Promotion, link_base: str
) -> bool:
    """Replace an untrusted run by a trusted one, in the caller's notifying transaction, and queue its reports again.

    Return False if the run has been promoted with these receipts before. The run isn't complete before the workers have
    stored all of the reports, and no other report can change it. If `project_id` is set, only a run of this project is
    found. Raises NotFound, and Conflict for another commit, receipt, or revision.
    """
    found = await reports_store.lock_of_run(connection, org_id, run_id, promotion.receipts)
    run = (await runs_store.lock(connection, [(org_id, run_id)])).get((org_id, run_id))
    if run is None or project_id not in (None, run.state.project_id):
        raise NotFound(f"run {run_id[:100]!r} not found")
    if run.trusted:
        _check_promoted(run, found, promotion)
        return False
    if promotion.revision is not None and run.revision < promotion.revision:
        raise Conflict(f"revision: the run with the revision {promotion.revision} was deleted; review the new one")
    _check_reports(found, promotion)
    uploads = {report.receipt_id: _promoted(report.upload, promotion, run_id) for report in found}
    kept_files = [path for upload in uploads.values() for path in upload.paths]
    await retention_store.delete_run(connection, org_id, run_id, run.state.project_id, kept_files)
    new = _new_run(run, found, promotion)
    if not await runs_store.insert_new(connection, [new]):
        raise Conflict("run_id: another run has the same key; delete one of them")
    for receipt_id, upload in uploads.items():
        await reports_store.queue_again(connection, org_id, receipt_id, upload)
        await outbox.put(connection, REPORTS, {"org_id": org_id, "receipt_id": receipt_id})
    await emit_run_events(connection, [RunChange(new, completed=False)], link_base)
    return True


def _check_promoted(run: StoredRun, found: Sequence[ReportOfRun], promotion: Promotion) -> None:
    """Raise Conflict unless the run is of the commit, and its promotion has named all of the receipts."""
    if (stated := run.fields.get("commit_sha")) != promotion.commit_sha:
        raise Conflict(f"commit_sha: the run is of {_name(stated)}, so it can't be promoted for another commit")
    promoted = {report.receipt_id for report in found if report.upload.is_promoted}
    if others := [receipt_id for receipt_id in promotion.receipts if receipt_id not in promoted]:
        raise Conflict(f"receipts: the run is trusted already, without the report of the receipt {others[0]}")


def _check_reports(found: Sequence[ReportOfRun], promotion: Promotion) -> None:
    """Raise Conflict if a receipt is unknown, or if its report was rejected, not reviewed, or isn't of the commit."""
    known = {report.receipt_id for report in found}
    if unknown := [receipt_id for receipt_id in promotion.receipts if receipt_id not in known]:
        raise Conflict(f"receipts: the run has no report with the receipt {unknown[0]}")
    for receipt_id, status, upload, _ in found:
        if status == "rejected":
            raise Conflict(f"receipts: the report of {receipt_id} was rejected, so its results are missing")
        if promotion.revision is not None and status in ("queued", "processing"):
            raise Conflict(f"receipts: the report of {receipt_id} isn't stored yet; review the run again after that")
        if (stated := upload.run.get("commit_sha")) != promotion.commit_sha:
            raise Conflict(
                f"commit_sha: the report of {receipt_id} is of {_name(stated)}, so it can't be promoted for another"
                " commit"
            )


def _promoted(upload: Upload, promotion: Promotion, run_id: str) -> Upload:
    """Return the upload with the fields that the job states. Fields of a request override fields of its report.

    A fork can state any target branch, so only the job's counts, even if it states none: compared with a target branch
    that has the same failures, a gate would not block the run. The pipeline counts only if the ID of the run begins
    with it, because the gate of another pipeline, such as one of `main`, would decide about the run.
    """
    fields = {**upload.run, "base_branch": promotion.base_branch}
    begins = re.compile(f"{UNTRUSTED_PREFIX}{re.escape(str(fields.get('pipeline')))}(?![0-9A-Za-z])")
    if not begins.match(run_id):
        fields["pipeline"] = None
    if promotion.pull_request is not None:
        fields["pull_request"] = promotion.pull_request
    return replace(upload, run=fields, is_promoted=True)


def _new_run(run: StoredRun, found: Sequence[ReportOfRun], promotion: Promotion) -> StoredRun:
    """Return the trusted run without results. Its time is the time of its first report."""
    completed_ms = min(to_ms(_completed_at(report)) for report in found)
    received_s = max(to_ms(report.received_at) for report in found) // 1000
    fields = {name: getattr(promotion, name) for name in ("commit_sha", "pull_request", "base_branch")}
    versions: FieldVersions = {name: (received_s, value) for name, value in fields.items() if value is not None}
    awaited = frozenset(report.receipt_id for report in found)
    state = RunState(
        run.state.run_id, run.state.project_id, completed_ms, completed_ms, field_versions=versions, awaited=awaited
    )
    new = StoredRun.new(run.org_id, state, Counts())
    new.trusted, new.revision = True, run.revision + 1
    return new


def _completed_at(report: ReportOfRun) -> datetime:
    """Return the time that the request states, or the time of its receipt."""
    stated = report.upload.run.get("completed_at")
    return aware(datetime.fromisoformat(stated)) if stated else report.received_at.astimezone(UTC)


def _name(commit_sha: str | None) -> str:
    return f"the commit {commit_sha[:100]!r}" if commit_sha else "no commit"
