"""Detection of reports that declare failing tests but contain no failure."""

import json
import re
from pathlib import Path

import pytest

from tests.reports.conversions import convert_text
from tests.reports.manifests import CORPUS

_PASSED = "<testcase name='c'/>"


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
@pytest.mark.parametrize(
    ("file", "elements"),
    [
        ("pytest-fail.xml", "failure"),
        ("gen-gotestsum-go-test-json-missing-test-fail.xml", "failure"),
        ("flakybot-java-error.xml", "error"),
        ("phpunit-checkstyle.xml", "failure"),
    ],
)
def test_real_report_without_its_failures_is_detected(file: str, elements: str, tmp_path: Path) -> None:
    report = (CORPUS / file).read_text("utf-8")

    summary, results = convert_text(re.sub(rf"(?s)<{elements}\b.*?(?:</{elements}>|/>)", "", report), tmp_path)

    assert summary.failures_missing
    assert not any(result["status"] in ("failed", "error") for result in results)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
def test_ctrf_report_without_its_failed_tests_is_detected(tmp_path: Path) -> None:
    report = json.loads((CORPUS / "gen-ctrf-jest-dayjs.json").read_bytes())
    report["results"]["tests"] = [test for test in report["results"]["tests"] if test["status"] != "failed"]

    summary, _ = convert_text(json.dumps(report), tmp_path)

    assert summary.failures_missing


@pytest.mark.parametrize(
    ("report", "missing"),
    [
        (f"<testsuites failures='1'>{_PASSED}</testsuites>", True),
        (f"<testsuites tests='1'><testsuite errors='2'>{_PASSED}</testsuite></testsuites>", True),
        (f"<testsuite><testsuite failures='1'>{_PASSED}</testsuite></testsuite>", True),
        (f"<testsuite failures='0' errors='none'>{_PASSED}</testsuite>", False),
        ("<testsuite failures='1'><testcase name='c'><error/></testcase></testsuite>", False),
        ("<testsuite failures='1'><testcase name='c'><flakyFailure/></testcase></testsuite>", False),
        ("<testsuite failures='1'><testcase name='c'><skipped/></testcase></testsuite>", True),
        (f"<testsuite failures='1'><error/>{_PASSED}</testsuite>", False),
        ('{"results": {"summary": {"failed": 1}, "tests": []}}', True),
        ('{"results": {"summary": {"failed": 0}, "tests": []}}', False),
        ('{"results": {"summary": {"failed": "1"}, "tests": []}}', True),
        ('{"results": {"summary": {"failed": 1.0}, "tests": []}}', True),
        ('{"results": {"summary": {"failed": -1}, "tests": []}}', False),
        ('{"config": {"rootDir": "/"}, "suites": [], "stats": {"unexpected": "1"}}', True),
    ],
    ids=range(14),
)
def test_declared_failures_are_compared_with_the_contained_ones(report: str, missing: bool, tmp_path: Path) -> None:
    summary, _ = convert_text(report, tmp_path)

    assert summary.failures_missing is missing
