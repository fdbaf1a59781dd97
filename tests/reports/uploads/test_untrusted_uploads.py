"""Untrusted uploads: what anybody can do with a public key."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.domain.errors import Unauthorized
from service.identity.keys.model import Caller
from service.identity.members.operations import sign_in
from service.reports.model import UNTRUSTED_LIMITS_PER_DAY
from service.retention.deletion import delete_expired_untrusted
from service.runs.model import UNTRUSTED_REFUSAL
from tests.forks import CLAIMS, REPORT, RUN, TRUSTED, Fork, find_cases, find_rows, promote_completely, serving_fork
from tests.run_events import run_event


@pytest.fixture
async def fork(database_url: str, tmp_path: Path) -> AsyncIterator[Fork]:
    async with serving_fork(database_url, tmp_path) as opened:
        yield opened


async def test_all_refusals_of_a_public_key_are_the_same(fork: Fork) -> None:
    """A stranger learns neither which runs, projects, and receipts exist, nor why a request is refused."""
    api, store = fork.reports.api, fork.reports.api.store
    await store.ingest(run_event("of_blog", project_id="blog"))
    await fork.upload()
    receipt = (await api.get("/v1/receipts", {"run_id": "run_1"}))["data"][0]["id"]
    trusted = (await api.get("/v1/results", {"run_id": "run_1"}))["data"][0]["id"]
    await store.pool.execute("UPDATE runs SET run_id = 'untrusted:blog', trusted = false WHERE run_id = 'of_blog'")
    upload = "/v1/runs/{}/report?project_id={}"
    requests = [
        *(("POST", upload.format(run, "shop")) for run in ("run_1", "absent", "untrusted:blog")),
        *(("POST", upload.format(RUN, project)) for project in ("blog", "absent")),
        *(("PUT", f"/v1/runs/{run}/artifacts/a.png") for run in ("run_1", "untrusted:absent", "untrusted:blog")),
        *(("PUT", f"/v1/results/{id_}/artifacts/a.png") for id_ in (trusted, f"res_{'0' * 48}", "x")),
        *(("GET", f"/v1/receipts/{id_}") for id_ in (receipt, f"rcp_{'0' * 32}", "x")),
        *(("GET", f"/v1/receipts{query}") for query in ("", "?run_id=run_1", "?pipeline=github-1")),
    ]
    answers = [await fork.send(method, path, None if method == "GET" else REPORT) for method, path in requests]
    assert answers == [(403, {"code": "forbidden", "message": UNTRUSTED_REFUSAL})] * len(requests)
    own = (await api.get("/v1/receipts", {"run_id": RUN}))["data"][0]["id"]
    files = [f"/v1/runs/{RUN}/artifacts/a.png?receipt_id={id_}" for id_ in (receipt, f"rcp_{'0' * 32}", own)]
    assert [(await fork.send("PUT", path, b"x"))[0] for path in files] == [404, 404, 201]
    async with store.pool.acquire() as connection:
        with pytest.raises(Unauthorized):
            await sign_in(connection, Caller(api.org_id, "key_1", "public", "shop"), "secret", "session")
    other = (await api.make_key("uploader")).key
    for path in (upload.format(RUN, "shop"), upload.format("untrusted:x", "shop")):
        status, error = await fork.send("POST", path, REPORT, other)
        assert (status, "'untrusted:'" in error["message"]) == (403, True)


async def test_untrusted_run_changes_nothing_that_is_trusted(fork: Fork) -> None:
    reports, pool = fork.reports, fork.reports.api.store.pool
    before = await find_rows(reports, "SELECT * FROM projects")
    receipt = await fork.upload()
    assert (receipt["status"], receipt["results"]) == ("stored", 2)
    run = await reports.api.get(f"/v1/runs/{RUN}")
    assert (run["trusted"], run["branch"], run["complete"]) == (False, "fork:main", True)
    assert await find_cases(reports) == {**TRUSTED, "hidden": ("evil.py", False)}
    assert await find_rows(reports, "SELECT * FROM projects") == before
    assert await find_rows(reports, "SELECT * FROM failure_group_minutes") == []
    assert await find_rows(reports, f"SELECT type FROM events WHERE run_id = '{RUN}'") == [("run.stored",)]
    [event] = await reports.api.store.ingest(run_event("untrusted:event"))
    assert (event.status, event.reason) == ("rejected", "invalid")
    assert (await reports.api.send("PUT", f"/v1/runs/{RUN}/pin")).status == 409
    # The worker has the caches of the untrusted uploads.
    await fork.upload(body=REPORT.replace(b"hidden", b"without file"))
    await reports.ingest(REPORT, "run_2")
    await reports.ingest(b'<testsuite><testcase classname="auth.login" name="without file"/></testsuite>', "run_3")
    trusted = TRUSTED | {"logs in": ("evil.py", True), "hidden": ("evil.py", True), "without file": (None, True)}
    assert await find_cases(reports) == trusted
    assert await pool.fetchval("SELECT count(*) FROM cases WHERE expires_on IS NOT NULL") == 0
    await fork.upload(body=REPORT.replace(b"evil.py", b"worse.py"))
    assert await find_cases(reports) == trusted


async def test_limits_count_reports_and_files_of_the_project(fork: Fork) -> None:
    await fork.upload()
    repeated = await fork.reports.post(REPORT, RUN, CLAIMS, fork.key, Idempotency_Key="1")
    assert repeated.status == 202
    assert await find_rows(fork.reports, "SELECT * FROM idempotency_keys") == []  # strangers share the public key
    statuses = [(await fork.send("PUT", f"/v1/runs/{RUN}/artifacts/{n}.txt", b"x"))[0] for n in range(8)]
    assert statuses == [201] * 7 + [429]
    fork.key = (await fork.reports.api.make_key("public", project_id="shop")).key
    response = await fork.reports.post(REPORT, "untrusted:2", key=fork.key)
    assert response.status == 429
    assert 0 < int(response.headers["Retry-After"]) <= 86_400
    assert "RESULTS_UNTRUSTED_FILES_PER_DAY" in await response.text()
    await fork.reports.ingest(REPORT, "run_2")  # trusted uploads don't count


async def test_limits_count_what_reports_store(fork: Fork) -> None:
    """A compressed report of 1 MB can have 50,000 results."""
    pool, limits = fork.reports.api.store.pool, UNTRUSTED_LIMITS_PER_DAY
    await fork.upload()
    await fork.reports.ingest(REPORT, "run_2")  # trusted reports don't count
    find = "SELECT files, bytes > 50 FROM artifact_usage WHERE key_id = 'untrusted-results:shop'"
    assert await find_rows(fork.reports, find) == [(2, True)]
    for files, size in ((limits.max_rows - 1, 0), (0, limits.max_unpacked_bytes - 1)):
        query = "UPDATE artifact_usage SET files = $1, bytes = $2 WHERE key_id = 'untrusted-results:shop'"
        await pool.execute(query, files, size)
        receipt = await fork.upload(f"untrusted:{size}", REPORT.replace(b"hidden", b"more"))
        assert receipt["status"] == "rejected"
        assert "too_large: the untrusted reports of a project" in receipt["problems"][0]["reason"]
    assert set(await find_cases(fork.reports)) == {*TRUSTED, "hidden"}


async def test_limits_count_the_files_that_reports_contain(fork: Fork) -> None:
    embedding = {"mime_type": "image/png", "data": b64encode(b"x" * 9_000).decode()}
    step = {"keyword": "Given ", "name": "a cart", "result": {"status": "passed"}, "embeddings": [embedding] * 2}
    feature = {"keyword": "Feature", "name": "Cart", "elements": [{"name": "pays", "steps": [step]}]}
    await fork.upload(body=json.dumps([feature]).encode())
    # A result and two files
    find = "SELECT files, bytes > 18000, bytes < 20000 FROM artifact_usage WHERE key_id = 'untrusted-results:shop'"
    assert await find_rows(fork.reports, find) == [(3, True, True)]


async def test_untrusted_runs_and_their_cases_expire(fork: Fork) -> None:
    reports, pool = fork.reports, fork.reports.api.store.pool
    await fork.upload()
    promoted = await fork.upload("untrusted:promoted", REPORT.replace(b"hidden", b"promoted"))
    await fork.upload("untrusted:young", REPORT.replace(b"hidden", b"young"))
    await promote_completely(reports, [promoted], "untrusted:promoted")
    old_runs = "UPDATE runs SET created_at = now() - $1::interval WHERE run_id IN ($2, 'untrusted:promoted')"
    old_cases = "UPDATE cases SET expires_on = expires_on - $1::int WHERE name <> 'young'"
    await pool.execute(old_runs, timedelta(days=13), RUN)
    await pool.execute(old_cases, 15)
    assert await delete_expired_untrusted(pool) == 0
    await pool.execute(old_runs, timedelta(days=15), RUN)
    await pool.execute(old_cases, 1)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM runs WHERE org_id = 1 AND run_id = $1 FOR UPDATE", RUN)
        assert await delete_expired_untrusted(pool) == 0
    # The cases stay too, because the transaction can promote the run.
    assert set(await find_cases(reports)) == {*TRUSTED, "hidden", "promoted", "young"}
    assert await delete_expired_untrusted(pool) == 1
    runs = await find_rows(reports, "SELECT run_id FROM runs ORDER BY run_id")
    assert runs == [("run_1",), ("untrusted:promoted",), ("untrusted:young",)]
    assert set(await find_cases(reports)) == {*TRUSTED, "promoted", "young"}
    assert len(await find_rows(reports, "SELECT path FROM file_deletions WHERE due_at <= now()")) == 1
