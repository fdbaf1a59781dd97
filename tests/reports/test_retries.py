"""Repeated cases: attempts of producers that write each attempt as a further case, and occurrences of all others."""

from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.attempts import add_attempt
from tests.reports.conversions import convert_all, convert_cases, convert_text, is_flaky
from tests.reports.manifests import CORPUS, OWN

_FAILURE = "<failure message='no'>text</failure>"
_GOTESTSUM = 'name="s"><properties><property name="go.version" value="go1.24 linux/amd64"/></properties'
_TEARDOWN = "<error message='failed on teardown with &quot;broke&quot;'>at fixture</error>"


def test_attempts_of_pytest_rerunfailures_are_one_case(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "pytest-reruns.xml", tmp_path)

    assert [(result["name"], result["status"], _statuses(result)) for result in results] == [
        ("test_flaky", "passed", ["failed", "passed"]),
        ("test_always", "failed", ["failed", "failed"]),
        ("test_td", "error", ["failed", "error"]),
        ("test_td_pass", "error", ["failed", "error"]),
        ("test_setup", "passed", []),
        ("test_ok", "passed", []),
    ]
    assert is_flaky(results[0])
    assert results[0]["duration_ms"] == 12
    assert summary.notes == ()


def test_call_failure_and_teardown_error_of_pytest_are_one_attempt_with_both_texts(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "pytest-reruns.xml", tmp_path)

    failure: Any = results[2]["failure"]
    assert failure["message"] == "assert 1 == 2"
    assert "def test_td(bad): assert 1==2" in failure["details"]
    assert "\n\nfailed on teardown with" in failure["details"]
    assert (results[2]["attempts"] or [])[-1]["failure"] == failure


def test_teardown_error_without_reruns_adds_no_attempt(tmp_path: Path) -> None:
    case = "<testcase classname='k' name='c' time='0.1'>{}</testcase>"

    (result,) = convert_cases(case.format(_FAILURE) + case.format(_TEARDOWN), tmp_path, 'name="pytest"')

    assert (result["status"], result["duration_ms"], "attempts" in result) == ("error", 200, False)
    assert result["failure"]["details"] == 'no\ntext\n\nfailed on teardown with "broke"\nat fixture'


@pytest.mark.parametrize(
    "second",
    [
        "<testcase classname='k' name='d'/>",
        "<testcase classname='l' name='c'/>",
        "<testcase classname='k' name='c' file='f.py'/>",
    ],
    ids=["name", "class", "file"],
)
def test_other_cases_of_pytest_are_not_attempts(second: str, tmp_path: Path) -> None:
    case = "<testcase classname='k' name='c'/>"

    results = convert_cases(case + second + case, tmp_path, 'name="pytest"')

    assert [_statuses(result) for result in results] == [[], [], []]


def test_retried_case_starts_with_its_first_attempt(tmp_path: Path) -> None:
    case = "<testcase name='c' timestamp='2026-05-20T12:00:{}Z'>{}</testcase>"

    (result,) = convert_cases(case.format("01", "<failure/>") + case.format("09", ""), tmp_path, 'name="pytest"')

    assert result["started_at"].second == 1
    assert [attempt["started_at"].second for attempt in result["attempts"]] == [1, 9]


@pytest.mark.slow
@pytest.mark.parametrize("suite", ['name="pytest"', _GOTESTSUM], ids=["pytest", "gotestsum"])
def test_attempts_of_one_case_have_limited_memory(suite: str, tmp_path: Path) -> None:
    case = f"<testcase name='c'><failure message='{'m' * 1_000_000}'/></testcase>"

    results = convert_cases(case * 80, tmp_path, suite)

    assert 1 < len(results) < 5


def test_duration_is_unknown_if_no_attempt_has_one(tmp_path: Path) -> None:
    (result,) = convert_cases("<testcase name='c'/><testcase name='c'/>", tmp_path, 'name="pytest"')

    assert result["duration_ms"] is None


def test_attempts_of_gotestsum_are_one_case(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "gotestsum-reruns.xml", tmp_path)

    seen = {result["name"]: (result["status"], len(result.get("attempts") or [1])) for result in results}
    assert seen == {"TestAlways": ("passed", 1), "TestRarely": ("passed", 2), "TestNever": ("failed", 2)}
    rarely: Any = next(result for result in results if result["name"] == "TestRarely")
    assert rarely["duration_ms"] == 300
    assert "failure" not in rarely
    assert "not this time" in rarely["attempts"][0]["failure"]["details"]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
def test_attempts_of_a_real_report_of_gotestsum_are_in_order(tmp_path: Path) -> None:
    _, results = convert_all(CORPUS / "gen-gotestsum-go-test-json-flaky-rerun.xml", tmp_path)

    often: Any = next(result for result in results if result["name"] == "TestFailsOften")
    assert _statuses(often) == ["failed", "failed", "failed", "passed"]
    assert ["SEED:  2" in attempt["failure"]["details"] for attempt in often["attempts"][:3]] == [False, False, True]


def test_repeats_of_other_producers_are_occurrences(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "repeated-names.xml", tmp_path)

    assert [result["status"] for result in results] == ["passed", "failed", "passed"]


@pytest.mark.parametrize(
    "properties",
    ["<property name='go.version' value='go1.24.4'/>", "<property name='surefire.rerunFailingTestsCount' value='2'/>"],
    ids=["go-junit-report", "surefire"],
)
def test_repeats_of_producers_that_list_reruns_elsewhere_are_occurrences(properties: str, tmp_path: Path) -> None:
    cases = "<testcase name='c'><failure/></testcase><testcase name='c'/>"

    results = convert_cases(f"<properties>{properties}</properties>{cases}", tmp_path)

    assert [result["status"] for result in results] == ["failed", "passed"]


def test_repeat_in_another_suite_is_no_attempt(tmp_path: Path) -> None:
    suite = "<testsuite name='pytest'><testcase name='c'>{}</testcase></testsuite>"

    _, results = convert_text(f"<testsuites>{suite.format('<failure/>')}{suite.format('')}</testsuites>", tmp_path)

    assert [result["status"] for result in results] == ["failed", "passed"]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")
def test_failure_of_a_rerun_case_is_the_one_of_the_case(tmp_path: Path) -> None:
    _, (result,) = convert_all(CORPUS / "surefire-retry-ctrf.xml", tmp_path)

    failure: Any = result["failure"]
    assert (result["status"], failure["type"]) == ("failed", "java.lang.AssertionError")
    assert failure["message"] == "expected true but was false"
    assert _statuses(result)[-1] == "failed"
    assert (result["attempts"] or [])[-1]["failure"] == failure


def test_case_has_at_most_1000_attempts(tmp_path: Path) -> None:
    (result,) = convert_cases(f"<testcase name='c'>{'<flakyFailure/>' * 1_200}</testcase>", tmp_path)

    assert (len(result["attempts"]), result["attempts"][-1]["status"]) == (1_000, "passed")


def test_files_of_attempts_are_limited() -> None:
    output = [{"name": f"attempt-{index}-out.txt"} for index in range(2_000)]
    first: Any = {"name": "c", "status": "failed", "artifacts": [{"name": str(index)} for index in range(2_000)]}
    second: Any = {"name": "c", "status": "passed", "artifacts": [{"name": "last"}], "output": [{"name": "last"}]}
    merged: Any = add_attempt(first | {"output": output}, second)

    for files in (merged["artifacts"], merged["output"]):
        assert (len(files), files[-1]["name"]) == (2_000, "last")


def _statuses(result: Any) -> list[str]:
    return [attempt["status"] for attempt in result.get("attempts") or ()]
