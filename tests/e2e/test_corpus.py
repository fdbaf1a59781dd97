"""Every report of the manifests, sent over HTTP to a running stack, is counted as others have counted it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.reports.junit_cases import SUITE_LEVEL_NAME
from tests.consumers.conftest import Broker
from tests.consumers.processes import consumer
from tests.report_api import Reports, serving_reports, serving_reports_with_ingester
from tests.reports.manifests import CORPUS, OWN, ListedReport, all_listed

AT_ONCE = 8
# Cases with attempts that failed, which their producer was told to let fail though the last one passed.
FLAKY_BUT_FAILED = {"quick-junit-basic.xml": 1, "surefire-reruns.xml": 1}


@pytest.fixture
async def stack(
    database_url: str, tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Reports]:
    """The API here, and consumers in a process of their own behind RabbitMQ."""
    monkeypatch.setenv("RESULTS_ARTIFACTS_URL", (tmp_path / "files").as_uri())
    async with serving_reports(database_url, tmp_path) as reports:
        with consumer(database_url, broker.url, broker.topology, "reports", "relay"):
            yield reports


async def test_the_corpus_is_counted_as_its_manifest_says(stack: Reports) -> None:
    if not CORPUS.exists():
        pytest.skip("the corpus is not here")
    assert await all_wrong(stack, all_listed(CORPUS)) == {}


async def test_our_own_reports_are_counted_without_a_broker_too(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        assert await all_wrong(reports, all_listed(OWN)) == {}


async def all_wrong(stack: Reports, listed: list[ListedReport]) -> dict[str, Any]:
    """What came out otherwise, by the name of the report: (what there is, what there should be)."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(report: ListedReport) -> Any:
        async with places:
            body = report.path.read_bytes()
            if not body:
                return await _answered(stack, report)
            receipt = await stack.ingest(body, str(report))
            return await (_wrong(stack, report, receipt) if report.is_readable else _taken(stack, report, receipt))

    found = await asyncio.gather(*map(one, listed))
    return {str(report): wrong for report, wrong in zip(listed, found, strict=True) if wrong is not None}


async def _answered(stack: Reports, report: ListedReport) -> Any:
    """What an empty report is answered with, if not with a refusal at once."""
    response = await stack.post(b"", str(report))
    return None if response.status == 400 and not report.is_readable else await response.json()


async def _taken(stack: Reports, report: ListedReport, receipt: Any) -> Any:
    """What is there of a report that should have been rejected."""
    absent = (await stack.api.send("GET", f"/v1/runs/{report}")).status == 404
    reason = (receipt["problems"] or [{}])[0].get("reason")
    return None if receipt["status"] == "rejected" and reason and absent else (receipt, "rejected")


async def _wrong(stack: Reports, report: ListedReport, receipt: Any) -> Any:
    results = await stack.api.walk("/v1/results", {"run_id": str(report), "limit": "1000"})
    run = await stack.api.get(f"/v1/runs/{report}")
    expected = ("stored", report.results, report.results, dict(report.statuses), run["counts"]["flaky"])
    if not report.further_attempts and report.format != "ctrf":
        flaky = report.count("flaky_cases") - FLAKY_BUT_FAILED.get(str(report), 0)
        expected = (*expected[:-1], flaky)
    statuses = dict(await _statuses(stack, report, results))
    found = (receipt["status"], receipt["results"], len(results), statuses, run["counts"]["flaky"])
    return None if found == expected else (found, expected, receipt["problems"])


async def _statuses(stack: Reports, report: ListedReport, results: list[Any]) -> Counter[str]:
    """By case as the file has them: where repeats are attempts, each of them."""
    of_cases = [result for result in results if result["name"] != SUITE_LEVEL_NAME]
    if not report.further_attempts:
        return Counter(result["status"] for result in of_cases)
    ones = [await stack.api.get(f"/v1/results/{result['id']}") for result in of_cases]
    return Counter(attempt["status"] for one in ones for attempt in one["attempt_details"])
