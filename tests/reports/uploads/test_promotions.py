"""The promotion of an untrusted run: only the named reports become trusted, and nothing that strangers have added."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from service.artifacts.model import ArtifactLimits
from service.artifacts.store_artifact import NamedFile, NewArtifact, record_artifact
from service.domain.errors import Forbidden, Rejected
from service.domain.ids import RUN_ITSELF, OrgId
from service.domain.statuses import Counts
from service.identity.keys.model import Caller
from service.ingest.run_changes import check_can_merge
from service.reports import ingest_reports
from service.reports.accept_report import identify
from service.reports.conversion.processes import ParserProcess
from service.reports.conversion.uploads import ReadUpload, ReportFile
from service.reports.model import UNTRUSTED_LIMITS, UNTRUSTED_LIMITS_PER_DAY, ReportLimits, StoredPart, Upload
from service.reports.untrusted_uploads import quota_of
from service.runs.model import RunState
from service.runs.store import StoredRun
from tests.forks import (
    CLAIMS,
    COMMIT,
    REPORT,
    RUN,
    TRUSTED,
    Fork,
    find_cases,
    find_rows,
    promote,
    promote_completely,
    serving_fork,
)
from tests.run_events import result

ABSENT: Final = {"id": f"rcp_{'0' * 32}"}
WAITING: Final = """
SELECT count(*) FROM pg_locks waiting JOIN pg_locks known USING (pid)
WHERE NOT waiting.granted AND known.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
GREEN: Final = b'<testsuite><testcase classname="auth.login" name="logs in" file="evil.py"/></testsuite>'


def named(name: str) -> bytes:
    """Return the report of a failing test that has an ID, and this name."""
    return json.dumps({"results": [result(name, "failed", case_id="C-9", failure={"message": "boom"})]}).encode()


@pytest.fixture
async def fork(database_url: str, tmp_path: Path) -> AsyncIterator[Fork]:
    async with serving_fork(database_url, tmp_path) as opened:
        yield opened


async def test_promotion_names_the_commit_and_the_receipts(fork: Fork) -> None:
    reports, api = fork.reports, fork.reports.api
    receipt = await fork.upload()
    revision = (await api.get(f"/v1/runs/{RUN}"))["revision"]
    bound = (await api.make_key("engineer", project_id="blog")).key
    uploader = (await api.make_key("uploader")).key
    statuses = [
        await promote(reports, [receipt], commit_sha="cd" * 20),
        await promote(reports, [receipt], revision=revision + 1),
        await promote(reports, [receipt], "untrusted:absent"), await promote(reports, [receipt], key=bound),
        await promote(reports, [receipt], key=uploader), await promote(reports, [receipt], key=fork.key),
        await promote(reports, []), await promote(reports, [{"id": "rcp_1"}]),
    ]  # fmt: skip
    assert [status for status, _ in statuses] == [409, 409, 404, 404, 403, 403, 400, 400]
    response = await api.send("POST", f"/v1/runs/{RUN}/promote", json={"commit_sha": COMMIT})
    assert (response.status, (await response.json())["error"]["param"]) == (400, "receipts")
    run = await promote_completely(reports, [receipt], revision=revision)
    promoted = {"trusted": True, "complete": True, "branch": "fork:main", "base_branch": None, "status": "failed"}
    assert run.items() >= {**promoted, "run_id": RUN, "pull_request": "7"}.items()
    assert run["revision"] > revision
    assert await find_cases(reports) == {**TRUSTED, "hidden": ("evil.py", True)}
    assert len(await find_rows(reports, "SELECT * FROM failure_group_minutes")) == 1
    types = await find_rows(reports, f"SELECT type FROM events WHERE run_id = '{RUN}' ORDER BY created_at")
    assert types == [("run.stored",), ("run.updated",), ("run.completed",), ("run.failed",)]
    assert await promote(reports, [receipt], base_branch="other") == (200, run)
    assert (await promote(reports, [receipt], commit_sha="cd" * 20))[0] == 409
    status, body = await promote(reports, [receipt, ABSENT])
    assert (status, "is trusted already, without the report" in body["error"]["message"]) == (409, True)
    audited = await find_rows(reports, "SELECT action FROM audit_trail WHERE action LIKE '%/promote'")
    assert audited == [(f"POST /v1/runs/{RUN}/promote",)]
    assert (await reports.post(REPORT, RUN, CLAIMS, fork.key)).status == 403
    assert (await fork.send("PUT", f"/v1/runs/{RUN}/artifacts/a.png", b"x"))[0] == 403


async def test_file_that_arrives_during_the_promotion_is_refused(fork: Fork) -> None:
    reports, api = fork.reports, fork.reports.api
    await promote_completely(reports, [await fork.upload()])
    caller, file = Caller(api.org_id, "key_1", "public", "shop"), StoredPart("path", "a.png", None, 1, "00" * 32)
    run_key = await api.store.pool.fetchval("SELECT run_key FROM runs WHERE run_id = $1", RUN)
    new = NewArtifact(api.org_id, (run_key, RUN_ITSELF, 1), NamedFile("a.png", None, None))
    quota = quota_of(caller, ArtifactLimits(), ArtifactLimits())
    async with api.store.pool.acquire() as connection:
        with pytest.raises(Forbidden):
            await record_artifact(connection, caller, new, file, quota)


@pytest.mark.one_server  # waits for a lock of the server
async def test_upload_that_waits_during_the_promotion_is_rejected(fork: Fork) -> None:
    """What a fork uploads after the promotion of the reviewed results doesn't become trusted with them."""
    reports, store = fork.reports, fork.reports.api.store
    receipt = await fork.upload()
    async with store.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM runs WHERE org_id = 1 AND run_id = $1 FOR UPDATE", RUN)
        upload = asyncio.create_task(fork.upload(body=REPORT.replace(b"hidden", b"later")))
        async with asyncio.timeout(20):
            while not await store.pool.fetchval(WAITING):
                pass
        await connection.execute("UPDATE runs SET trusted = true WHERE run_id = $1", RUN)
    rejected = await upload
    assert rejected["status"] == "rejected"
    assert "was promoted" in rejected["problems"][0]["reason"]
    assert (await reports.api.get(f"/v1/runs/{RUN}"))["counts"]["passed"] == 1
    # It isn't a report of the promoted run, so that no gate waits for it.
    await store.pool.execute(
        "UPDATE receipts SET upload = upload || '{\"is_promoted\": true}' WHERE receipt_id = $1", receipt["id"]
    )
    listed = (await reports.api.get("/v1/receipts", {"run_id": RUN}))["data"]
    assert [each["id"] for each in listed] == [receipt["id"]]


@pytest.mark.parametrize("is_first", [True, False])
async def test_promotion_discards_what_strangers_have_added(fork: Fork, *, is_first: bool) -> None:
    """A stranger sends passing results, other fields, a future time, parts, and files, before or after the fork."""
    reports, api = fork.reports, fork.reports.api
    receipts = [] if is_first else [await fork.upload()]
    future = (datetime.now(UTC) + timedelta(hours=20)).isoformat()
    planted = await fork.upload(
        body=GREEN.replace(b"</testsuite>", b'<testcase name="planted" classname="x"/></testsuite>'),
        branch="evil", commit_sha="cd" * 20, pull_request="66", shard="1/3", label="team:evil", environment="evil",
        completed_at=future,
    )  # fmt: skip
    rejected = await fork.upload(body=b"<broken", part="evil")
    assert (planted["status"], rejected["status"]) == ("stored", "rejected")
    await fork.send("PUT", f"/v1/runs/{RUN}/artifacts/evil.txt", b"evil")
    if is_first:
        receipts = [await fork.upload()]
    await fork.send("PUT", f"/v1/runs/{RUN}/artifacts/evil.txt?receipt_id={receipts[0]['id']}", b"evil")
    assert (await api.get(f"/v1/runs/{RUN}"))["complete"] is False

    run = await promote_completely(reports, receipts)
    counts = {"passed": 1, "failed": 1, "error": 0, "skipped": 0, "canceled": 0, "flaky": 0}
    claimed: dict[str, Any] = {
        "commit_sha": COMMIT,
        "branch": "fork:main",
        "pull_request": "7",
        "environment": None,
        "labels": {},
    }
    assert run.items() >= {"complete": True, "status": "failed", "counts": counts, **claimed}.items()
    assert run["expected_shards"] is None
    assert run["parts"] == [{"part": None, "variant": {}, "shard": None, "attempt": None}]
    assert run["completed_at"] < datetime.now(UTC).isoformat()
    listed = (await api.get("/v1/receipts", {"run_id": RUN}))["data"]
    assert [each["id"] for each in listed] == [receipts[0]["id"]]
    results = await api.list_all("/v1/results", {"run_id": RUN})
    assert {result["name"]: result["status"] for result in results} == {"logs in": "failed", "hidden": "passed"}
    files = (await api.get(f"/v1/runs/{RUN}/artifacts"))["data"]
    assert [file["name"] for file in files] == [receipts[0]["id"]]
    deleted = await find_rows(reports, "SELECT path FROM file_deletions")
    assert len(deleted) == 4  # the stored report and the two files of the stranger, and the folder of the run
    assert not any(receipts[0]["id"] in path for (path,) in deleted)
    assert "planted" not in {name for name, (_, trusted) in (await find_cases(reports)).items() if trusted}
    decision = await api.send("POST", f"/v1/runs/{RUN}/decisions", json={"policy": {"max_failures": 0}})
    assert (await decision.json())["decision"] == "blocked"


async def test_only_stored_reports_of_the_run_and_commit_can_be_named(fork: Fork) -> None:
    reports = fork.reports
    receipt = await fork.upload()
    other_run = await fork.upload("untrusted:other")
    other_commit = await fork.upload(body=GREEN, commit_sha="cd" * 20)
    rejected = await fork.upload(body=b"<broken")
    trusted = (await reports.api.get("/v1/receipts", {"run_id": "run_1"}))["data"][0]
    for named, problem in (
        (ABSENT, "the run has no report with the receipt"),
        (other_run, "the run has no report with the receipt"),
        (trusted, "the run has no report with the receipt"),
        (rejected, "was rejected, so its results are missing"),
        (other_commit, "can't be promoted for another commit"),
    ):
        status, body = await promote(reports, [receipt, named])
        assert (status, problem in body["error"]["message"]) == (409, True), body
    assert (await reports.api.get(f"/v1/runs/{RUN}"))["trusted"] is False


async def test_run_is_complete_after_all_of_its_reports_are_stored(fork: Fork) -> None:
    """A gate must not decide before the failing results of the second job are stored again."""
    reports, pool = fork.reports, fork.reports.api.store.pool
    first = await fork.upload(body=GREEN, part="unit")
    second = await fork.upload(part="e2e")
    later = "UPDATE receipts SET due_at = now() + interval '1 hour' WHERE receipt_id = $1"
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('reports'))")  # no worker claims a report
        status, run = await promote(reports, [first, second])
        await connection.execute(later, second["id"])
    assert (status, run["counts"]["failed"]) == (202, 0)
    await reports.wait_until_finished(first)
    run = await reports.api.get(f"/v1/runs/{RUN}")
    assert (run["complete"], run["status"], run["counts"]["passed"]) == (False, "error", 1)
    response = await reports.api.send("POST", f"/v1/runs/{RUN}/complete")
    assert (response.status, "1 reports that its promotion names" in await response.text()) == (409, True)
    await pool.execute("UPDATE receipts SET due_at = now() WHERE receipt_id = $1", second["id"])
    await pool.execute("INSERT INTO outbox (queue, payload) VALUES ('reports', '{\"v\": 1}')")
    await reports.wait_until_finished(second)
    run = await reports.api.get(f"/v1/runs/{RUN}")
    assert (run["complete"], run["status"], [part["part"] for part in run["parts"]]) == (
        True,
        "failed",
        ["e2e", "unit"],
    )


async def test_run_with_a_report_that_can_not_be_stored_again_is_never_complete(fork: Fork) -> None:
    reports = fork.reports
    receipt = await fork.upload()
    [[path]] = await find_rows(reports, f"SELECT path FROM artifacts WHERE path LIKE '%{receipt['id']}%'")
    await reports.storage.delete(path)
    assert (await promote(reports, [receipt]))[0] == 202
    assert (await reports.wait_until_finished(receipt))["status"] == "rejected"
    run = await reports.api.get(f"/v1/runs/{RUN}")
    assert (run["complete"], run["status"]) == (False, "error")
    listed = (await reports.api.get("/v1/receipts", {"run_id": RUN}))["data"]
    assert [each["status"] for each in listed] == ["rejected"]


async def test_promotion_counts_no_report_again(fork: Fork) -> None:
    """Otherwise, a stranger could use up the limits of the day before the promotion."""
    receipt = await fork.upload()
    await fork.reports.api.store.pool.execute("UPDATE artifact_usage SET files = $1", UNTRUSTED_LIMITS_PER_DAY.max_rows)
    assert (await promote_completely(fork.reports, [receipt]))["status"] == "failed"


async def test_promoted_report_has_the_parsing_time_of_a_trusted_one(
    fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, a loaded worker would reject a report for good that was stored within the limit before."""
    receipt = await fork.upload()
    read = ParserProcess.read

    async def read_slowly(parser: ParserProcess, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
        await asyncio.sleep(1)
        return await read(parser, files, limits)

    monkeypatch.setattr(ParserProcess, "read", read_slowly)
    monkeypatch.setattr(ingest_reports, "UNTRUSTED_LIMITS", UNTRUSTED_LIMITS._replace(parsing_s=0.5))
    assert (await fork.upload(body=GREEN))["status"] == "rejected"
    assert (await promote_completely(fork.reports, [receipt]))["status"] == "failed"


async def test_deleted_run_stays_deleted_if_its_promotion_is_in_progress(fork: Fork) -> None:
    reports, pool = fork.reports, fork.reports.api.store.pool
    receipt = await fork.upload()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('reports'))")
        assert (await promote(reports, [receipt]))[0] == 202
        assert (await reports.api.send("DELETE", f"/v1/runs/{RUN}")).status == 204
    finished = await reports.wait_until_finished(receipt)
    assert "was deleted after its promotion" in finished["problems"][0]["reason"]
    assert await find_rows(reports, f"SELECT 1 FROM runs WHERE run_id = '{RUN}'") == []


async def test_promoted_run_has_its_own_names_which_no_glob_of_a_quarantine_matches(fork: Fork) -> None:
    """A stranger uploads a case_id first, with a name that a quarantine matches; then, the case fails in a fork."""
    reports, api = fork.reports, fork.reports.api
    body = {"project_id": "shop", "name": "sometimes*", "reason": "outage"}
    assert (await api.send("POST", "/v1/quarantines", json=body)).status == 201
    await fork.upload("untrusted:stranger", named("sometimes pays"))
    receipt = await fork.upload(body=named("pays"))
    await promote_completely(reports, [receipt])
    assert await find_names(reports, RUN) == {"pays": None}
    # The other run is promoted, too. It can rename only cases that no trusted run contains, and no gate uses this name.
    other = (await api.get("/v1/receipts", {"run_id": "untrusted:stranger"}))["data"]
    await promote_completely(reports, other, "untrusted:stranger")
    assert await find_names(reports, RUN) == {"sometimes pays": None}
    await reports.ingest(named("pays with a card"), "run_2")
    assert await find_names(reports, RUN) == {"pays with a card": None}
    again = await fork.upload("untrusted:again", named("sometimes pays "))
    await promote_completely(reports, [again], "untrusted:again")
    assert await find_names(reports, RUN) == {"pays with a card": None}
    await reports.ingest(named("sometimes pays"), "run_3")
    names = await find_names(reports, RUN)
    assert [quarantine is not None for quarantine in names.values()] == [True]


async def find_names(reports: Any, run_id: str) -> dict[str, str | None]:
    """Return the quarantine of each failing case of a run by its name."""
    compared = (await reports.api.get(f"/v1/runs/{run_id}/comparison"))["data"]
    return {item["name"]: item["quarantine_id"] for item in compared if item["status"] == "failed"}


@pytest.mark.parametrize(("stated", "stored"), [("github-7", "github-7"), ("github-811", None)])
async def test_promoted_run_belongs_only_to_the_pipeline_of_its_id(fork: Fork, stated: str, stored: str | None) -> None:
    """A fork states the pipeline of `main`, so that the gate of this pipeline would decide about its run."""
    receipt = await fork.upload(pipeline=stated)
    assert (await promote_completely(fork.reports, [receipt]))["pipeline"] == stored


async def test_promoted_run_has_the_time_of_its_first_report(fork: Fork) -> None:
    times = [f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%S}.000Z" for days in (1, 3, 2)]
    receipts = [await fork.upload(body=named(time), completed_at=time) for time in times]
    run = await promote_completely(fork.reports, receipts)
    assert (run["completed_at"], run["last_completed_at"]) == (times[1], times[0])


def test_same_files_with_another_meaning_have_another_receipt() -> None:
    """A stranger sends the failing report of a fork as an attachment of its passing one, before the fork does."""
    passing, failing = (StoredPart("path", f"{name}.xml", "text/xml", 1, name * 64) for name in "ab")
    run = {"project_id": "shop"}
    uploads = [
        Upload((passing, failing), run), Upload((passing,), run, attachments=(failing,)),
        Upload((replace(passing, content_type="application/json"), failing), run),
    ]  # fmt: skip
    assert len({identify(RUN, upload) for upload in uploads}) == 3


def test_promoted_report_is_not_stored_in_a_new_untrusted_run() -> None:
    """A promoted run was deleted before its reports were stored again, and a stranger has sent a run with its ID."""
    state = RunState(RUN, "shop", 1, 1)
    run = StoredRun.new(OrgId(1), state, Counts())
    run.trusted = False
    with pytest.raises(Rejected, match="was deleted after its promotion"):
        check_can_merge(run, state, "rcp_1")
    check_can_merge(run, state)
