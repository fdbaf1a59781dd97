"""The spool: an entry keeps everything that an upload needs, until `report` has sent it."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.client.__main__ import client
from service.client.http import ClientError, TemporaryFailure
from service.client.report import REJECTED, STORED, report_spool
from service.client.report_options import UploadOptions
from service.client.runner.spool import SpoolEntry, find_entries
from tests.gates.excusing import junit
from tests.report_api import Reports, serving_reports_with_ingester
from tests.runner.executions import JOB, Checkout

pytestmark = pytest.mark.slow

REPORT = junit({"a": "failed", "b": "passed"})
FINISHED = '{"format": 1, "tool": "t", "finished": true, "exit_code": 0, "failed_tests": 0, "problems": []}'
LIVE = b'{"run": {}}\n{"suite": "shop", "name": "a", "status": "passed"}\n'


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as opened:
        await opened.api.become("uploader")
        yield opened


def create(spool: Path, run_id: str = "run_1", content: bytes = REPORT, **fields: str) -> SpoolEntry:
    """Return an entry with a packed report, of a process that has ended."""
    upload = UploadOptions(run_id, [("project_id", "shop"), *fields.items()], expects_new=False)
    entry = SpoolEntry.create(spool, upload, live=False)
    file = spool.parent / "junit.xml"
    file.write_bytes(content)
    entry.pack([file], {}, upload.fields, is_certain=True)
    entry.unlock()
    return entry


def create_live(spool: Path, content: bytes, evidence: str | None = None) -> SpoolEntry:
    upload = UploadOptions("run_1", [("project_id", "shop")], expects_new=False)
    entry = SpoolEntry.create(spool, upload, live=True)
    (entry.folder / "results-7.ndjson").write_bytes(content)
    if evidence:
        (entry.folder / "evidence-7.json").write_text(evidence)
    entry.unlock()
    return entry


async def send(reports: Reports, path: Path) -> int:
    server = str(reports.api.http.make_url("/")), reports.api.key
    return await asyncio.to_thread(report_spool, *server, find_entries(path), wait_s=60)


async def test_each_entry_is_sent_to_its_own_run_and_deleted(reports: Reports, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    create(spool, "run_1", branch="main", variant="os:linux")
    create(spool, "run_2", branch="fix")
    variables = {"RESULTS_URL": str(reports.api.http.make_url("/")), "RESULTS_API_KEY": reports.api.key}
    command = ["report", str(spool), "--wait"]
    result = await asyncio.to_thread(CliRunner().invoke, client, command, env=variables)
    assert result.exit_code == 0, result.output
    assert result.output.count("stored, 2 results (rcp_") == 2
    runs = [await reports.api.get(f"/v1/runs/{run_id}") for run_id in ("run_1", "run_2")]
    assert [(run["branch"], run["counts"]["failed"]) for run in runs] == [("main", 1), ("fix", 1)]
    items = (await reports.api.get("/v1/results", {"run_id": "run_1"}))["data"]
    assert [item["variant"] for item in items] == [{"os": "linux"}] * 2
    assert find_entries(spool) == []


async def test_repeated_entry_has_the_same_receipt(reports: Reports, tmp_path: Path) -> None:
    entry = create(tmp_path / "spool")
    shutil.copytree(entry.folder, tmp_path / "copy")
    assert await send(reports, entry.folder) == STORED
    assert await send(reports, tmp_path / "copy") == STORED
    assert len((await reports.api.get("/v1/receipts"))["data"]) == 1


async def test_broken_entries_stay_and_do_not_stop_the_others(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = tmp_path / "spool"
    broken = [create(spool, f"broken_{number}").folder for number in range(4)]
    (broken[0] / "upload.json").write_text("{")
    (broken[1] / "upload.json").write_text('{"format": 2, "run_id": "r", "fields": [["project_id", "shop"]]}')
    (broken[2] / "reports" / "0.gz").unlink()
    shutil.move(create_live(spool, b"x\ny\n").folder, spool / "broken")
    shutil.rmtree(broken[3])
    create(spool, "run_1")
    assert await send(reports, spool) == REJECTED
    errors = capsys.readouterr().err.splitlines()
    texts = {error.split(": ")[1].rpartition("/")[2]: error for error in errors}
    assert "can't be read" in texts[broken[0].name]
    assert "unknown format 2. Use a newer client" in texts[broken[1].name]
    assert "No such file" in texts[broken[2].name]
    assert set(texts) == {each.name for each in broken[:3]} | {"broken"}
    assert {entry.folder.name for entry in find_entries(spool)} == set(texts)
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is True


async def test_entry_of_a_running_command_is_skipped(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = create(tmp_path / "spool")
    assert entry.lock()
    assert await send(reports, tmp_path / "spool") == STORED
    assert f"{entry.folder}: skipped, because its command is still executed" in capsys.readouterr().err
    entry.unlock()
    await send(reports, tmp_path / "spool")
    assert find_entries(tmp_path / "spool") == []


def test_server_that_does_not_respond_keeps_all_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.report._RETRY_S", 0)
    spool = tmp_path / "spool"
    create(spool, "run_1"), create(spool, "run_2")
    with pytest.raises(TemporaryFailure):
        report_spool("http://127.0.0.1:9", "key", find_entries(spool), wait_s=None)
    assert len(find_entries(spool)) == 2


@pytest.mark.parametrize(
    ("content", "evidence", "status", "passed"),
    [
        pytest.param(LIVE, FINISHED, "passed", 1, id="finished"),
        pytest.param(LIVE + b'{"suite": "shop", "na', None, "error", 1, id="killed while it wrote a result"),
        pytest.param(LIVE, FINISHED.replace("true", "false"), "error", 1, id="unfinished"),
        pytest.param(LIVE.split(b"\n", 1)[1], None, "error", 1, id="without a first record"),
        pytest.param(b'{"run": {}}\n', None, "error", 0, id="killed before the first result"),
    ],
)
async def test_run_of_a_killed_session_is_an_error(
    reports: Reports, tmp_path: Path, content: bytes, evidence: str | None, status: str, passed: int
) -> None:
    create_live(tmp_path / "spool", content, evidence)
    assert await send(reports, tmp_path / "spool") == STORED
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["counts"]["passed"]) == (status, passed)


async def test_entry_of_a_command_that_was_killed_while_it_packed_is_sent(reports: Reports, tmp_path: Path) -> None:
    entry = create_live(tmp_path / "spool", LIVE)
    (entry.folder / "reports").mkdir()
    (entry.folder / "reports" / "0.gz").write_bytes(b"\x1f")
    assert await send(reports, tmp_path / "spool") == STORED
    assert (await reports.api.get("/v1/runs/run_1"))["counts"]["passed"] == 1


def test_entry_without_results_is_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = create_live(tmp_path / "spool", b"")
    assert report_spool("http://127.0.0.1:9", "key", find_entries(entry.folder), wait_s=None) == STORED
    assert capsys.readouterr().err == f"{entry.folder}: deleted, because it contains no results\n"
    assert not entry.folder.exists()


def test_other_folders_have_no_entries(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert find_entries(tmp_path) == find_entries(tmp_path / "missing") == []
    with pytest.raises(ClientError, match=r"upload\.json can't be read"):
        SpoolEntry(tmp_path).read_upload()


def test_entry_is_private_and_changes_nothing_else_in_the_checkout(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, {"RESULTS_PROJECT": "shop"})
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    checkout.write(".gitignore", "junit.xml\n.source*\n")
    command = *JOB, "--variant", "os:linux", "--report", "junit.xml", *checkout.failing_with(0, REPORT)
    for options in ((), ("--spool", ".")):
        assert checkout.finish(checkout.start(*options, *command)).code == 0
    (entry,) = checkout.entries
    assert entry.stat().st_mode & 0o777 == 0o700
    upload = checkout.upload(entry)
    assert (upload["format"], upload["run_id"]) == (1, "run_1")
    assert {("project_id", "shop"), ("variant", "os:linux"), ("part", "unit")} <= set(map(tuple, upload["fields"]))
    status = subprocess.run(["git", "status", "--short"], cwd=tmp_path, capture_output=True, check=True)
    assert status.stdout == b"?? .gitignore\n"
    assert len(find_entries(tmp_path)) == 1


def enter_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Return an empty checkout without a server, which is the working directory."""
    checkout = Checkout(folder / "checkout", {"RESULTS_PROJECT": "shop", "RESULTS_API_KEY": ""})
    checkout.folder.mkdir()
    monkeypatch.chdir(checkout.folder)
    return checkout


async def test_entry_states_the_assignment_of_its_job(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = enter_checkout(tmp_path, monkeypatch)
    for job, index in (("8", "2"), ("7", "1")):
        checkout.variables |= {"CIRCLECI": "true", "CIRCLE_PIPELINE_ID": "p", "CIRCLE_BUILD_NUM": job}
        split = ("split", "--total", "2", "--index", index)
        assert (await checkout.execute(*split, "--key", f"of-{job}", stdin=b"a.py\nb.py\n")).code == 0
    report = checkout.write(".source.xml", REPORT)
    written = await checkout.run("--pipeline", "--report", "junit.xml", "--", "sh", "-c", f"cp {report} junit.xml")
    assert "The reports stay in" in written.stderr
    shutil.rmtree(checkout.folder / ".zof-results" / "splits")
    assert await send(reports, checkout.folder / ".zof-results" / "spool") == STORED
    (found,) = (await reports.api.get("/v1/runs/circleci-p:shop/splits"))["data"]
    assert (found["key"], found["by_name"], [len(part["receipts"]) for part in found["parts"]]) == (
        "of-7",
        True,
        [1, 0],
    )


async def test_entry_of_a_killed_job_states_its_assignment(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = enter_checkout(tmp_path, monkeypatch)
    entry = create_live(tmp_path / "spool", LIVE, FINISHED)
    options = ("split", "--run-id", "run_1", "--total", "2", "--index", "1")
    assert (await checkout.execute(*options, stdin=b"a.py\nb.py\nc.py\n")).code == 0
    assert await send(reports, entry.folder) == STORED
    (found,) = (await reports.api.get("/v1/runs/run_1/splits"))["data"]
    assert sum(len(part["receipts"]) for part in found["parts"]) == 1
    assert "no_results" in {each["reason"] for each in found["missing_items"]}
