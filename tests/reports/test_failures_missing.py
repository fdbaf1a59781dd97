"""Detection of reports that declare more failures than they contain."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from service.reports.format_table import REPORT_FORMATS
from tests.reports.conversions import convert_text
from tests.reports.manifests import CORPUS

_PASSED: Final = "<testcase name='c'/>"
_FAILED: Final = "<testcase name='f'><failure/></testcase>"
_SKIPPED: Final = "<testcase name='s'><skipped/></testcase>"
WITHOUT_COUNTS: Final = {"go-test", "cucumber", "allure", "json", "ndjson"}


# Reports of one failing case, with the number of failures that they declare, in each format that declares one
DECLARING: Final = {
    "junit": "<testsuite failures='N'><testcase name='a'><failure/></testcase></testsuite>",
    "junit errors": "<testsuites errors='N'><testsuite><testcase name='a'><error/></testcase></testsuite></testsuites>",
    "junit both": "<testsuite failures='1' errors='N'><testcase name='a'><failure/></testcase>"
    "<testcase name='b'><error/></testcase></testsuite>",
    "trx": "<TestRun><Results><UnitTestResult testName='a' outcome='Failed'/></Results>"
    "<ResultSummary><Counters failed='N'/></ResultSummary></TestRun>",
    "nunit": "<test-run failed='N'><test-suite name='s'><test-case name='a' result='Failed'/></test-suite></test-run>",
    "xunit": "<assemblies><assembly name='s' total='1' failed='N'><collection>"
    "<test name='a' result='Fail'/></collection></assembly></assemblies>",
    "xunit errors": "<assemblies><assembly name='s' total='0' errors='N'><errors><error name='a'/></errors></assembly>"
    "</assemblies>",
    "testng": "<testng-results failed='N'><suite name='s'><test name='t'><class name='c'>"
    "<test-method name='a' status='FAIL'/></class></test></suite></testng-results>",
    "robot": "<robot><suite name='s'><test name='a'><status status='FAIL'/></test><status status='FAIL'/></suite>"
    "<statistics><total><stat pass='0' fail='N'>All Tests</stat></total></statistics></robot>",
    "tap": "1..1\nnot ok 1 - a\n# fail N\n",
    "playwright": '{"config": {"rootDir": "/"}, "stats": {"unexpected": N}, "suites": [{"title": "s", "specs": [{'
    '"title": "a", "tests": [{"expectedStatus": "passed", "status": "unexpected", "results": [{"status": "failed"'
    '}]}]}]}]}',
    "pytest-json": '{"created": 1, "exitcode": 1, "summary": {"failed": N}, "tests": [{"nodeid": "a.py::a", "outcome":'
    ' "failed"}]}',
    "pytest-json errors": '{"created": 1, "exitcode": 1, "summary": {"error": N}, "tests": [{"nodeid": "a.py::a",'
    ' "outcome": "error"}]}',
    "jest": '{"numFailedTests": N, "numTotalTestSuites": 1, "testResults": [{"name": "/a.js", "assertionResults":'
    ' [{"title": "a", "status": "failed"}]}]}',
    "mochawesome": '{"stats": {"failures": N}, "results": [{"title": "", "tests": [{"fullTitle": "a", "state":'
    ' "failed"}]}]}',
    "ctrf": '{"results": {"summary": {"failed": N}, "tests": [{"name": "a", "status": "failed"}]}}',
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARING)
def test_report_with_fewer_failures_than_it_declares_is_detected(name: str, tmp_path: Path) -> None:
    assert {known.name for known in REPORT_FORMATS} - {key.split()[0] for key in DECLARING} == WITHOUT_COUNTS
    for declared in (1, 2):
        summary, results = convert_text(DECLARING[name].replace("N", str(declared)), tmp_path)
        assert summary.format == name.split()[0]
        assert {result["status"] for result in results} <= {"failed", "error"}
        assert summary.failures_missing is (declared == 2)
        assert any(f"{declared}" in note for note in summary.notes) is (declared == 2)


@pytest.mark.parametrize("name", ["junit", "nunit", "testng", "ctrf", "jest", "mochawesome"])
def test_failure_with_an_unknown_word_is_contained(name: str, tmp_path: Path) -> None:
    word, unknown = {
        "junit": ("<failure/>", "<failures_odd/>"), "nunit": ("Failed", "odd"), "testng": ("FAIL", "odd"),
    }.get(name, ('"failed"', '"odd"'))  # fmt: skip
    before, after = DECLARING[name].replace("N", "1").rsplit(word, 1)
    assert not convert_text(f"{before}{unknown}{after}", tmp_path)[0].failures_missing


def test_failures_of_a_case_beyond_the_limit_are_contained(tmp_path: Path) -> None:
    case = f"<testcase name='a'>{'<failure/>' * 3_000}</testcase>"  # Catch2 writes each failed assertion
    assert not convert_text(f"<testsuite failures='3000'>{case}</testsuite>", tmp_path)[0].failures_missing
    assert convert_text(f"<testsuite failures='3001'>{case}</testsuite>", tmp_path)[0].failures_missing


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
        (f"<testsuite failures='3' errors='0' skipped='2'>{_FAILED}{_SKIPPED * 2}</testsuite>", True),
        (f"<testsuite failures='1' errors='2' skipped='2'>{_FAILED}{_SKIPPED * 2}</testsuite>", False),  # ci_reporter
        (f"<testsuite failures='2' errors='2' skipped='2'>{_FAILED}{_SKIPPED * 2}</testsuite>", True),
        (f"<testsuites tests='1'><testsuite failures='2'>{_FAILED}</testsuite></testsuites>", True),
        (f"<testsuites tests='2' failures='1'><testsuite errors='2'>{_FAILED * 2}</testsuite></testsuites>", True),
        (f"<testsuites failures='1'><testsuite failures='1'>{_FAILED}</testsuite></testsuites>", False),
        (f"<testsuites tests='1' failures='0'><testsuite failures='1'>{_PASSED}</testsuite></testsuites>", True),
        (f"<testsuite failures='1'><error/>{_PASSED}</testsuite>", False),
        ('{"results": {"summary": {"failed": 1}, "tests": []}}', True),
        ('{"results": {"summary": {"failed": 0}, "tests": []}}', False),
        ('{"results": {"summary": {"failed": "1"}, "tests": []}}', True),
        ('{"results": {"summary": {"failed": 1.0}, "tests": []}}', True),
        ('{"results": {"summary": {"failed": -1}, "tests": []}}', False),
        ('{"config": {"rootDir": "/"}, "suites": [], "stats": {"unexpected": "1"}}', True),
    ],
    ids=range(21),
)
def test_declared_failures_are_compared_with_the_contained_ones(report: str, missing: bool, tmp_path: Path) -> None:
    summary, _ = convert_text(report, tmp_path)

    assert summary.failures_missing is missing
