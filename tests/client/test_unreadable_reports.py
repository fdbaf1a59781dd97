"""A failing report that can't be read, next to a green one, never leads to a passing gate."""

import asyncio
import bz2
import lzma
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from service.client import report as report_client
from service.client.gate_outcomes import BLOCKED, PASSED
from service.client.report import REJECTED, STORED
from tests.client.gates import decide, url
from tests.report_api import PASSING, Reports, serving_reports_with_ingester
from tests.reports.archive_files import pack_gzip, pack_zip

FAILING: Final = (
    b"<testsuites><testsuite name='shop'><testcase name='refunds'><failure/></testcase></testsuite></testsuites>"
)
NUNIT_2: Final = b'<test-results failures="1"><test-suite><test-case success="False"/></test-suite></test-results>'
# Failing reports that can't be read: in formats of other tools, or with a name that only one tool uses.
UNREADABLE: Final = {
    "nunit.xml": NUNIT_2,
    "messages.ndjson": b'{"meta": {"protocolVersion": "27.0.0"}}\n{"testStepFinished": {"status": "FAILED"}}\n',
    "dart.json": b'{"protocolVersion": "0.1.1", "type": "start"}\n{"type": "error"}\n',
    "go.log": b"=== RUN   TestPays\n--- FAIL: TestPays (0.00s)\nFAIL\n",
    "TEST-shop.xml": b"<results><failed>pays</failed></results>",
    "5-result.json": b'{"state": "failed"}',
    "shop.trx": b"<Results><Failed/></Results>",
    "results.xml": b"INFO: start\n" + FAILING,
    "junit.xml": b"Done." + FAILING,
    "results.json": b'> jest --json\n\n{"numFailedTestSuites": 1, "testResults": []}',
    "TEST-shop.xml.bz2": bz2.compress(FAILING),
    "1-result.json.xz": lzma.compress(b'{"name": "pays", "status": "failed"}'),
}
# Failing reports that can be read, although their start is unusual.
READABLE: Final = {
    "1-result.json": b'{"status": "failed", "name": "pays", "labels": [], "uuid": "1", "start": 1, "stop": 2}',
    "jest.json": b'{"success": false, "testResults": [{"name": "/a.js", "status": "failed", "assertionResults":'
    b' [{"ancestorTitles": [], "title": "pays", "status": "failed", "failureMessages": ["no"]}]}]}',
    "r.tap": b"not ok - pays\n1..1\n",
    "output.xml": b"<?xml version='1.0'?><!--" + b" license" * 1_200 + b"--><robot><suite name='Shop'>"
    b"<test name='Pays'><status status='FAIL'>no</status></test><status status='FAIL'/></suite></robot>",
    "a.json": b'[{"tags": [], "elements": [{"steps": [{"name": "I pay", "result": {"status": "failed"}}],'
    b' "name": "pays", "type": "scenario"}], "keyword": "Feature", "name": "Shop"}]',
    "prefix.xml": b"<t:testsuites xmlns:t='urn:t'><t:testsuite name='shop'><t:testcase name='refunds'><t:failure/>"
    b"</t:testcase></t:testsuite></t:testsuites>",
    "prefix.trx": b"<vs:TestRun xmlns:vs='urn:vs'><vs:Results><vs:UnitTestResult testName='refunds' outcome='Failed'/>"
    b"</vs:Results></vs:TestRun>",
    "go.log": b"go: downloading example.com/shop v1.0.0\n" * 200
    + b'{"Action":"run","Package":"shop","Test":"TestPays"}\n{"Action":"fail","Package":"shop","Test":"TestPays"}\n'
    b'{"Action":"fail","Package":"shop"}\n',
    "results.json": b'{"results": {"summary": {"failed": 1}, "tool": {},'
    b' "tests": [{"name": "pays", "status": "failed"}]}}',
    "allure-results.zip": pack_zip({"5-attachment.txt": b"a", "a.xml": FAILING}),
    "linux.zip": pack_zip({"out/TEST-a.xml": FAILING}),
    "linux.tgz": pack_gzip({"out/junit.xml": FAILING}),
}  # fmt: skip


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        await opened.api.become("uploader")
        yield opened


async def report(reports: Reports, run_id: str, *patterns: Path, wait: bool = True, **options: Any) -> int:
    fields = [("project_id", "shop"), ("branch", "main")]
    arguments: Any = [url(reports.api), reports.api.key, run_id, list(map(str, patterns)), fields]
    return await asyncio.to_thread(report_client.report, *arguments, wait_s=60 if wait else None, **options)


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


async def test_folder_with_an_unreadable_report_blocks_the_gate(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (name, content) in enumerate(UNREADABLE.items()):
        folder = write(tmp_path / f"{number}", **{"green.xml": PASSING, name: content})
        assert await report(reports, f"run_{number}", folder) == REJECTED, name
        output = capsys.readouterr()
        assert "2 files: partial, 2 results" in output.out, name
        assert f"  {name}: " in output.out
        assert f"warning: {folder / name}: " in output.err or name == "TEST-shop.xml"  # XML that the server must read
        run = await reports.api.get(f"/v1/runs/run_{number}")
        assert (run["status"], run["failures_missing"], run["counts"]["passed"]) == ("error", True, 2)
        assert await decide(reports.api, f"run_{number}") == BLOCKED
        assert await decide(reports.api, f"run_{number}", max_failures=100) == BLOCKED


async def test_unreadable_report_blocks_the_gate_in_every_form_of_upload(reports: Reports, tmp_path: Path) -> None:
    files = {"green.xml": PASSING, "nunit.xml": NUNIT_2}
    folder = write(tmp_path / "out", **files)
    (tmp_path / "a.zip").write_bytes(pack_zip(files))
    (tmp_path / "a.tgz").write_bytes(pack_gzip(files))
    (tmp_path / "b.zip").write_bytes(pack_zip({"b.xml": PASSING, "TEST-a.xml": b"<a/>"}))
    (tmp_path / "c.zip").write_bytes(pack_zip({"a.xml": PASSING, "linux.zip": pack_zip({"TEST-a.xml": FAILING})}))
    (tmp_path / "d.zip").write_bytes(pack_zip({"page.html": b"<html/>"}))
    uploads = {
        "named": [folder / "nunit.xml", folder / "green.xml"],
        "zip": [tmp_path / "a.zip"],
        "tar": [tmp_path / "a.tgz"],
        "archive in an archive": [tmp_path / "c.zip"],
        "archive without a report": [folder / "green.xml", tmp_path / "d.zip"],
        "archives": [folder / "green.xml", tmp_path / "b.zip"],
        "without waiting": [folder],
    }
    for run_id, paths in uploads.items():
        waits = run_id != "without waiting"
        assert await report(reports, run_id, *paths, wait=waits) == (REJECTED if waits else STORED), run_id
        assert await decide(reports.api, run_id, 60) == BLOCKED
        [receipt] = (await reports.api.get("/v1/receipts", {"run_id": run_id}))["data"]
        assert receipt["status"] == "partial"


async def test_more_files_than_a_form_permits_with_an_unreadable_report_block_the_gate(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.client.report_files._MAX_PARTS", 2)
    folder = write(tmp_path / "out", **{"a.xml": PASSING, "b.xml": PASSING, "5-result.json": b'{"state": "failed"}'})
    assert await report(reports, "run_1", folder) == REJECTED
    assert await decide(reports.api, "run_1") == BLOCKED


async def test_report_with_an_unusual_start_is_read(reports: Reports, tmp_path: Path) -> None:
    for number, (name, content) in enumerate(READABLE.items()):
        folder = write(tmp_path / f"{number}", **{"green.xml": PASSING, name: content})
        assert await report(reports, f"run_{number}", folder) == STORED, name
        counts = (await reports.api.get(f"/v1/runs/run_{number}"))["counts"]
        assert (counts["passed"], counts["failed"]) == (2, 1), name
        assert await decide(reports.api, f"run_{number}") == BLOCKED


async def test_file_that_is_excluded_on_purpose_is_not_missing(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "out", **{"green.xml": PASSING, "nunit.xml": NUNIT_2, "page.css": b"a {}"})
    assert await report(reports, "run_1", folder, ignored=["nunit.xml"]) == STORED
    assert capsys.readouterr().err.splitlines() == [
        f"skipped: {folder / 'nunit.xml'}: excluded by --ignore",
        f"skipped: {folder / 'page.css'}: not a report",
    ]
    assert await decide(reports.api, "run_1") == PASSED
