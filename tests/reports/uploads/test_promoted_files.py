"""The files of a fork's report stay until its promotion, also if strangers send others to its untrusted run."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import FormData

from service.retention import files
from service.retention.expiry import apply_retention
from service.retention.files import delete_orphaned_files, delete_queued_files
from service.retention.model import RetentionPolicy
from tests.forks import RUN, Fork, promote_completely, serving_fork

CASE: Final = b"<testcase name='pays'><failure/><system-out>[[ATTACHMENT|shot.png]]</system-out></testcase>"
REPORT: Final = b"<testsuite>" + CASE + b"</testsuite>"
NAMES: Final = ("shot.png", "run.log")  # the file of a result, and a file of the run


def form(content: bytes, report: bytes = REPORT) -> FormData:
    """Return an upload of a report with files of this content."""
    fields = FormData()
    fields.add_field("report", report, filename="junit.xml", content_type="application/xml")
    for name in NAMES:
        fields.add_field("file", content + name.encode(), filename=name, content_type="text/plain")
    return fields


@pytest.fixture
async def fork(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fork]:
    """A fork whose files are old enough to be deleted."""
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    monkeypatch.setattr(files, "UPLOADS_END_AFTER", timedelta(0))
    monkeypatch.setattr(files, "_COMMIT_S", 0.0)
    async with serving_fork(database_url, tmp_path) as opened:
        yield opened


async def clean_up(fork: Fork) -> set[str]:
    """Delete all files that upkeep deletes, and return the paths of the uploaded ones that remain."""
    pool, storage = fork.reports.api.store.pool, fork.reports.storage
    await pool.execute("UPDATE file_deletions SET due_at = now()")
    await delete_queued_files(pool, storage)
    await delete_orphaned_files(pool, storage)
    return {path async for batch in storage.list_all("inbox") for path in batch}


async def path_of_result(fork: Fork) -> str:
    listed = await fork.reports.api.get("/v1/results", {"run_id": RUN, "trusted": "any"})
    return f"/v1/results/{listed['data'][0]['id']}/artifacts"


async def read_files(fork: Fork) -> dict[str, bytes]:
    """Return the files of the run and of its result by their names."""
    api = fork.reports.api
    lists = [(await api.get(path))["data"] for path in (await path_of_result(fork), f"/v1/runs/{RUN}/artifacts")]
    ids = {artifact["name"]: artifact["id"] for listed in lists for artifact in listed}
    return {name: await (await api.send("GET", f"/v1/artifacts/{ids[name]}")).read() for name in NAMES}


async def put(fork: Fork, path: str) -> None:
    status, error = await fork.send("PUT", path, b"planted")
    assert status in (200, 201), error


async def replace_by_report(fork: Fork) -> None:
    """Send another report of the same part. Its result replaces that of the fork with its file, as it's longer."""
    await fork.upload(body=form(b"planted ", REPORT.replace(b"'pays'", b"'pays' time='9'")))


async def replace_by_files(fork: Fork) -> None:
    await put(fork, f"{await path_of_result(fork)}/shot.png")
    await put(fork, f"/v1/runs/{RUN}/artifacts/run.log")


@pytest.mark.parametrize("replace", [replace_by_report, replace_by_files])
async def test_replaced_files_are_those_of_the_fork_after_the_promotion(fork: Fork, replace: Any) -> None:
    receipt = await fork.upload(body=form(b"of the fork "))
    uploaded = await clean_up(fork)
    await replace(fork)
    assert uploaded <= await clean_up(fork)
    assert all(content.startswith(b"planted") for content in (await read_files(fork)).values())
    await promote_completely(fork.reports, [receipt])
    assert await read_files(fork) == {name: f"of the fork {name}".encode() for name in NAMES}
    assert await clean_up(fork) == uploaded, "the files of other reports are deleted"
    assert await read_files(fork) == {name: f"of the fork {name}".encode() for name in NAMES}


async def test_replaced_files_are_deleted_with_their_run(fork: Fork) -> None:
    before = await clean_up(fork)
    await fork.upload(body=form(b"of the fork "))
    await replace_by_report(fork)
    assert len(await clean_up(fork) - before) == 2 * 3
    assert (await fork.reports.api.send("DELETE", f"/v1/runs/{RUN}")).status == 204
    assert await clean_up(fork) == before


async def test_old_time_of_a_stranger_expires_no_file_of_the_fork(fork: Fork, database_url: str) -> None:
    """The first report decides the time of the run, and artifacts expire earlier than results."""
    pool, storage = fork.reports.api.store.pool, fork.reports.storage
    old = datetime.now(UTC) - timedelta(days=99)
    start = old - timedelta(seconds=60)
    await fork.upload(body=form(b"planted "), started_at=start.isoformat(), completed_at=old.isoformat())
    assert (await fork.reports.api.get(f"/v1/runs/{RUN}"))["duration_ms"] == 60_000, "the start moves with the end"
    receipt = await fork.upload(body=form(b"of the fork "))
    policy = RetentionPolicy(timedelta(days=30), timedelta(days=365), None, timedelta())
    await apply_retention(pool, storage, database_url, policy)
    assert any(receipt["id"] in path for path in await clean_up(fork))
    run = await fork.reports.api.get(f"/v1/runs/{RUN}")
    assert datetime.fromisoformat(run["completed_at"]) > datetime.now(UTC) - timedelta(days=1, minutes=1)
    await promote_completely(fork.reports, [receipt])
    assert await read_files(fork) == {name: f"of the fork {name}".encode() for name in NAMES}
    # The time that a promoted report states is that of the run, as for a report of a trusted job.
    other = await fork.upload("untrusted:github-8:shop", completed_at=old.isoformat())
    run = await promote_completely(fork.reports, [other], "untrusted:github-8:shop")
    assert datetime.fromisoformat(run["completed_at"]).date() == old.date()
