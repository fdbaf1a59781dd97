"""A report with a result that the service can't read never passes, from the upload to the gate."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.client.gate_outcomes import BLOCKED
from service.client.report import REJECTED, STORED
from tests.client.gates import decide
from tests.client.test_report import SHOP, report, url, write
from tests.report_api import Reports, serving_reports_with_ingester

GOOD: dict[str, Any] = {"name": "good", "status": "passed"}


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


async def send(reports: Reports, folder: Path, name: str, content: bytes, run_id: str) -> int:
    file = str(write(folder, name, content))
    return await report(url(reports), reports.api.key, run_id, [file], SHOP, wait=True)


def trx(outcome: str) -> bytes:
    return f'<TestRun><Results><UnitTestResult testName="a" outcome="{outcome}"/></Results></TestRun>'.encode()


async def test_unknown_status_of_every_format_is_an_error_that_blocks(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {"name": "odd", "status": "exploded"}
    files = {
        "a.json": orjson.dumps({"results": [GOOD, odd]}),
        "a.ndjson": orjson.dumps(GOOD) + b"\n" + orjson.dumps(odd),
        "a.ctrf.json": orjson.dumps({"results": {"tool": {"name": "t"}, "tests": [GOOD, odd]}}),
        "a.trx": trx("Exploded"),
        "a.xml": b'<testsuite name="s"><testcase name="odd" status="exploded"/></testsuite>',
    }
    for name, content in files.items():
        assert await send(reports, tmp_path, name, content, name) == STORED
        run = await reports.api.get(f"/v1/runs/{name}")
        assert (run["status"], run["counts"]["error"], run["failures_missing"]) == ("error", 1, False), name
        [failed] = (await reports.api.get(f"/v1/results?run_id={name}&status=error"))["data"]
        assert failed["failure_summary"].lower() == "unknown status 'exploded'", name
        assert "status: unknown status '" in capsys.readouterr().out
        assert await decide(reports.api, name, max_failures=0) == BLOCKED


async def test_report_without_a_result_that_can_be_a_failure_is_partial_and_blocks(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dropped = {"name": "bad", "status": "failed", "duration_ms": -1}
    known = {"name": "known", "status": "failed"}
    native = orjson.dumps({"run": {"status": "passed"}, "results": [GOOD, known, dropped]})
    assert await send(reports, tmp_path, "a.json", native, "run_1") == REJECTED
    assert "a.json: partial, 2 results" in capsys.readouterr().out
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["failures_missing"]) == ("error", True)
    assert await decide(reports.api, "run_1", max_failures=1) == BLOCKED
