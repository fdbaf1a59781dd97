"""The complete stack stores every report of the manifests with the counts of an independent count."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.names import SUITE_LEVEL_NAME
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker
from tests.report_api import Reports, serving_reports, serving_reports_with_ingester
from tests.reports.manifests import CORPUS, OWN, ListedReport, all_listed

CONCURRENT_UPLOADS = 8
# Flaky cases that their producer, by its configuration, reports as failed although the last attempt passed.
FLAKY_BUT_FAILED = {"quick-junit-basic.xml": 1, "surefire-reruns.xml": 1}


@pytest.fixture
async def stack(
    database_url: str, tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reports]:
    """The API in this process, and the consumers in a separate process that is connected through RabbitMQ."""
    monkeypatch.setenv("RESULTS_ARTIFACTS_URL", (tmp_path / "files").as_uri())
    async with serving_reports(database_url, tmp_path) as reports:
        with consumer(database_url, broker.url, broker.topology, "reports", "relay"):
            yield reports


@pytest.mark.slow
async def test_counts_of_the_corpus_equal_its_manifest(stack: Reports) -> None:
    if not CORPUS.exists():
        pytest.skip("the corpus is missing")
    assert await find_mismatches(stack, all_listed(CORPUS)) == {}


async def test_counts_of_the_test_data_equal_their_manifest_without_a_broker(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        assert await find_mismatches(reports, all_listed(OWN)) == {}


async def find_mismatches(stack: Reports, listed: list[ListedReport]) -> dict[str, Any]:
    """Return the reports that weren't stored or rejected as expected: name -> (actual, expected)."""
    slots = asyncio.Semaphore(CONCURRENT_UPLOADS)

    async def check(report: ListedReport) -> Any:
        async with slots:
            body = report.path.read_bytes()
            if not body:
                return await _check_empty(stack, report)
            receipt = await stack.ingest(body, report.run_id)
            return await (
                _check_stored(stack, report, receipt) if report.is_readable else _check_rejected(stack, report, receipt)
            )

    mismatches = await asyncio.gather(*map(check, listed))
    return {
        report.run_id: mismatch for report, mismatch in zip(listed, mismatches, strict=True) if mismatch is not None
    }


async def _check_empty(stack: Reports, report: ListedReport) -> Any:
    """Return the response to an empty report, or None if it is the expected 400."""
    response = await stack.post(b"", report.run_id)
    return None if response.status == 400 and not report.is_readable else await response.json()


async def _check_rejected(stack: Reports, report: ListedReport, receipt: Any) -> Any:
    """Return the receipt of an invalid report, or None if the report was rejected and left no run."""
    absent = (await stack.api.send("GET", f"/v1/runs/{report.run_id}")).status == 404
    reason = (receipt["problems"] or [{}])[0].get("reason")
    return None if receipt["status"] == "rejected" and reason and absent else (receipt, "rejected")


async def _check_stored(stack: Reports, report: ListedReport, receipt: Any) -> Any:
    results = await stack.api.list_all("/v1/results", {"run_id": report.run_id, "limit": "1000"})
    run = await stack.api.get(f"/v1/runs/{report.run_id}")
    expected = ("stored", report.results, report.results, dict(report.statuses), run["counts"]["flaky"])
    if not report.further_attempts and report.format != "ctrf":
        flaky = report.count("flaky_cases") - FLAKY_BUT_FAILED.get(str(report), 0)
        expected = (*expected[:-1], flaky)
    statuses = dict(await _statuses(stack, report, results))
    found = (receipt["status"], receipt["results"], len(results), statuses, run["counts"]["flaky"])
    return None if found == expected else (found, expected, receipt["problems"])


async def _statuses(stack: Reports, report: ListedReport, results: list[Any]) -> Counter[str]:
    """Statuses of the cases of the file; if repeats are attempts, each attempt counts."""
    of_cases = [result for result in results if result["name"] != SUITE_LEVEL_NAME]
    if not report.further_attempts:
        return Counter(result["status"] for result in of_cases)
    details = [await stack.api.get(f"/v1/results/{result['id']}") for result in of_cases]
    return Counter(attempt["status"] for detail in details for attempt in detail["attempt_details"])
