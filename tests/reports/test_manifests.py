"""The counts of real reports of about 40 producers equal those of an independent count."""

import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from service.ingest.contract import ResultIn
from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.conversion.names import SUITE_LEVEL_NAME
from tests.reports.conversions import FAILING, convert_all, convert_text, is_flaky
from tests.reports.manifests import OWN, ListedReport, readable, unreadable

# Flaky cases that their producer, by its configuration, reports as failed although the last attempt passed.
_FLAKY_BUT_FAILED: Final = {"quick-junit-basic.xml": 1, "surefire-reruns.xml": 1}
# Reports that declare failures without containing them. RSpec counts an error outside of the examples, but writes no
# case for it. Vitest counts suites with failed hooks. The others are parts of reports.
_WITHOUT_FAILURE: Final = {
    "rspec-load-error.xml", "vitest.json", "class-not-classname.xml", "flakybot-java-error.xml",
    "flakybot-java-failed.xml", "mocha-flakybot-failed.xml",
}  # fmt: skip

PREFIXED: Final = (
    "pytest.xml",
    "nested.xml",
    "mstest.trx",
    "robot.xml",
    "nunit/cart.xml",
    "xunit/orders.xml",
    "testng/cart.xml",
)


@pytest.mark.parametrize("listed", readable(), ids=str)
def test_results_agree_with_the_manifest(listed: ListedReport, tmp_path: Path) -> None:
    summary, results = convert_all(listed.path, tmp_path)

    assert summary.results == len(results) == listed.results
    assert _statuses_of_cases(results, listed) == listed.statuses
    _suite_level_failures_are_separate_results(results, listed)
    _flaky_and_rerun_cases_list_their_attempts(results, listed)
    _attempts_end_with_the_status_of_their_result(results)
    assert summary.failures_missing == (listed.path.name in _WITHOUT_FAILURE)


@pytest.mark.parametrize("listed", unreadable(), ids=str)
def test_malformed_and_unsupported_reports_are_rejected_and_leave_no_file(listed: ListedReport, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        convert(listed.path, tmp_path / "results")

    expected = {"unsupported_format"} if listed.is_well_formed else {"malformed_report", "unsupported_format"}
    assert error.value.reason in expected
    assert str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", PREFIXED)
@pytest.mark.parametrize("of_root", [b"t:", b"root:", b""], ids=["one prefix", "two prefixes", "no prefix of the root"])
def test_elements_with_the_prefix_of_a_namespace_are_read_like_others(
    name: str, of_root: bytes, tmp_path: Path
) -> None:
    report = (OWN / name).read_bytes()
    roots = (b"testsuites", b"testsuite", b"TestRun", b"robot", b"test-run", b"assemblies", b"testng-results")
    parts = re.split(rb"(?s)(<!\[CDATA\[.*?\]\]>)", report)  # texts can contain elements
    prefixes = dict.fromkeys(roots, of_root)
    parts[::2] = (
        re.sub(rb"(?<=<)(/?)([\w-]+)", lambda tag: tag[1] + prefixes.get(tag[2], b"t:") + tag[2], part)
        for part in parts[::2]
    )

    summary, results = convert_text(b"".join(parts), tmp_path)

    assert results
    assert (summary, results) == convert_text(report, tmp_path)


def _statuses_of_cases(results: list[ResultIn], listed: ListedReport) -> Counter[str]:
    """Statuses of the cases of the file; if repeats are attempts, each attempt counts."""
    of_cases = [result for result in results if result["name"] != SUITE_LEVEL_NAME]
    if not listed.further_attempts:
        return Counter(result["status"] for result in of_cases)
    return Counter(attempt["status"] for result in of_cases for attempt in result.get("attempts") or [result])


def _suite_level_failures_are_separate_results(results: list[ResultIn], listed: ListedReport) -> None:
    of_suites = [result for result in results if result["name"] == SUITE_LEVEL_NAME]
    assert len(of_suites) == listed.count("suite_level_outcomes")
    assert all(result["status"] in FAILING for result in of_suites)


def _flaky_and_rerun_cases_list_their_attempts(results: list[ResultIn], listed: ListedReport) -> None:
    flaky, rerun = listed.count("flaky_cases"), listed.count("rerun_cases")
    with_attempts = sum("attempts" in result for result in results)
    if listed.further_attempts:
        assert with_attempts > 0
    else:
        assert with_attempts == (flaky + rerun if listed.format == "junit-xml" else rerun)
        assert sum(map(is_flaky, results)) == flaky - _FLAKY_BUT_FAILED.get(listed.path.name, 0)


def _attempts_end_with_the_status_of_their_result(results: list[ResultIn]) -> None:
    for result in results:
        assert (result.get("attempts") or [{"status": result["status"]}])[-1]["status"] == result["status"]
