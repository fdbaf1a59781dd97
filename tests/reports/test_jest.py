"""Conversion of the JSON report of Jest and Vitest to results."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.reports.conversion.errors import ReportError
from service.reports.formats import jest
from service.reports.streams import json as streams_json
from tests.reports.conversions import convert_text

JEST = {"numFailedTestSuites": 0, "numRuntimeErrorTestSuites": 0}
VITEST = {"numTotalTestSuites": 1}


def file_of(*tests: Any, **fields: Any) -> Any:
    return {"assertionResults": list(tests), "name": "/ci/shop/src/cart.test.js", "status": "passed"} | fields


def report_of(*files: Any, counts: Any = JEST, **members: Any) -> str:
    return json.dumps({**counts, "testResults": list(files), **members})


def case_of(status: Any = "passed", **fields: Any) -> Any:
    return {"ancestorTitles": ["cart"], "fullName": "cart adds", "title": "adds", "status": status, **fields}


def convert_one(test: Any, folder: Path, counts: Any = JEST) -> Any:
    _, (result,) = convert_text(report_of(file_of(test), counts=counts), folder)
    return result


def test_suite_and_name_of_jest_and_vitest_are_those_of_their_other_reporters(tmp_path: Path) -> None:
    of_jest, of_vitest = (convert_one(case_of(), tmp_path, counts) for counts in (JEST, VITEST))

    assert (of_jest["suite"], of_jest["name"]) == ("cart.test.js > cart", "cart adds")
    assert (of_vitest["suite"], of_vitest["name"]) == ("cart.test.js", "cart > adds")


@pytest.mark.parametrize("counts", [JEST, VITEST], ids=["jest", "vitest"])
def test_outcomes_do_not_change_the_identity(counts: Any, tmp_path: Path) -> None:
    statuses = ("passed", "failed", "skipped", "todo", "disabled", "odd", None, 7)
    failures = ["Error: no\n    at a"]
    results = [
        convert_one(case_of(status, failureMessages=failures, invocations=3), tmp_path, counts) for status in statuses
    ]

    assert len({(result["suite"], result["name"], result["file"]) for result in results}) == 1
    assert [result["status"] for result in results] == [
        "passed", "failed", "skipped", "skipped", "skipped", "error", "error", "error",
    ]  # fmt: skip


@pytest.mark.parametrize(("counts", "status"), [(JEST, "skipped"), (VITEST, "canceled")], ids=["jest", "vitest"])
def test_pending_test_was_skipped_by_jest_and_not_finished_by_vitest(counts: Any, status: str, tmp_path: Path) -> None:
    report = report_of(file_of(case_of("pending")), counts=counts | {"numPendingTests": 1})
    summary, (result,) = convert_text(report, tmp_path)

    assert (result["status"], summary.notes, summary.failures_missing) == (status, (), False)


def test_unknown_status_is_named(tmp_path: Path) -> None:
    result = convert_one(case_of("focused"), tmp_path)

    assert result["failure"]["message"] == "unknown status 'focused'"


@pytest.mark.parametrize(
    ("fields", "suite", "name"),
    [
        ({"ancestorTitles": None}, "cart.test.js", "cart adds"),
        ({"ancestorTitles": ["", "cart"]}, "cart.test.js > cart", "cart adds"),
        ({"fullName": None}, "cart.test.js > cart", "cart adds"),
        ({"fullName": "", "title": "", "ancestorTitles": []}, "cart.test.js", "cart.test.js"),
        ({"ancestorTitles": ["/ci/shop/src/a.js"], "fullName": "/ci/shop/src/a.js: adds"}, "cart.test.js > a.js",
         "a.js: adds"),
    ],
    ids=range(5),
)  # fmt: skip
def test_names_without_usual_fields(fields: Any, suite: str, name: str, tmp_path: Path) -> None:
    result = convert_one(case_of(**fields), tmp_path)

    assert (result["suite"], result["name"]) == (suite, name)


def test_first_title_of_old_versions_of_vitest_is_empty(tmp_path: Path) -> None:
    assert convert_one(case_of(ancestorTitles=["", "cart"]), tmp_path, VITEST)["name"] == "cart > adds"


@pytest.mark.parametrize("path", ["/ci/shop/src/cart.test.js", "C:\\shop\\src\\cart.test.js", "file:///s/cart.test.js"])
def test_folders_of_a_file_are_not_part_of_the_identity(path: str, tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of(file_of(case_of(), name=path)), tmp_path)

    assert (result["suite"], result["file"]) == ("cart.test.js > cart", "cart.test.js")


def test_fields_of_other_types_are_missing(tmp_path: Path) -> None:
    test = case_of("failed", location=7, startAt="x", duration="soon", failureMessages="no", meta=[], tags=7)
    summary, (result,) = convert_text(report_of(file_of(test, startTime="x", endTime=[])), tmp_path)

    assert result == {
        "suite": "cart.test.js > cart", "name": "cart adds", "file": "cart.test.js", "status": "failed",
    }  # fmt: skip
    assert summary.notes == ("duration: 1 durations are invalid, such as 'soon'. They are stored as unknown.",)
    assert (summary.times[0].started_at, summary.times[0].duration_ms) == (None, None)


def test_all_failures_of_a_test_are_in_its_details(tmp_path: Path) -> None:
    messages = ["Error: one\n    at a", "\x1b[31mError\x1b[0m: two"]

    assert convert_one(case_of("failed", failureMessages=messages), tmp_path)["failure"] == {
        "message": "Error: one", "details": "Error: one\n    at a\n\nError: two",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "attempts", "retries"),
    [
        ({"invocations": 1}, None, None),
        ({"invocations": 3, "retryReasons": ["one", "two"]}, [("failed", "one"), ("failed", "two"), ("passed", None)],
         None),
        ({"invocations": 2}, [("failed", None), ("passed", None)], None),
        ({"invocations": 4}, [("failed", None), ("passed", None)], 3),
        ({"invocations": 3, "retryReasons": ["a hook and a test"] * 4},
         [("failed", "a hook and a test"), ("passed", None)], 2),
        ({"failureMessages": ["one", "two"]}, [("failed", "one"), ("passed", None)], None),
        ({"invocations": "3"}, [("failed", None), ("passed", None)], 2),
        ({"invocations": -3}, None, None),
    ],
    ids=range(8),
)  # fmt: skip
def test_earlier_attempts_of_a_test_that_passed(
    fields: Any, attempts: Any, retries: int | None, tmp_path: Path
) -> None:
    result = convert_one(case_of(**fields), tmp_path)

    listed = result.get("attempts")
    found = listed and [(each["status"], (each.get("failure") or {}).get("message")) for each in listed]
    assert (found, result.get("retries")) == (attempts, retries)


def test_huge_number_of_invocations_adds_few_rows(tmp_path: Path) -> None:
    result = convert_one(case_of(invocations=999_999_999), tmp_path)

    assert (len(result["attempts"]), result["retries"]) == (2, 999)


@pytest.mark.parametrize("fields", [{"status": "pending", "invocations": 3}, {"status": "failed", "invocations": 1}])
def test_test_without_retries_has_no_attempts(fields: Any, tmp_path: Path) -> None:
    assert "attempts" not in convert_one(case_of(**fields, failureMessages=["no", "no"]), tmp_path)


@pytest.mark.parametrize("counts", [JEST, VITEST], ids=["jest", "vitest"])
@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"message": "Cannot find module", "status": "failed"}, {"message": "Cannot find module"}),
        ({"message": "Cannot find module", "status": None}, {"message": "Cannot find module"}),
        ({"message": "\x1b[1m● Test suite failed to run\x1b[0m\n\n    a\n      b\n"}, {"message": "a"}),
        ({"message": "", "status": "failed"}, {"message": "The report states that the file failed, but no reason."}),
        ({"message": None, "status": "odd"}, {"message": "The report states that the file failed, but no reason."}),
        ({"message": "", "status": "focused"}, None),
        ({"message": "", "status": "skipped"}, None),
        ({"message": "", "status": None}, None),
    ],
    ids=range(8),
)
def test_failure_of_a_file_without_a_failed_test_is_a_result(
    fields: Any, failure: Any, counts: Any, tmp_path: Path
) -> None:
    _, results = convert_text(report_of(file_of(case_of(), **fields), counts=counts), tmp_path)

    of_file = [(each["suite"], each["status"], each["failure"]["message"]) for each in results if "failure" in each]
    assert of_file == ([("cart.test.js", "error", failure["message"])] if failure else [])


@pytest.mark.parametrize(("counts", "results"), [(JEST, 1), (VITEST, 2)], ids=["jest", "vitest"])
def test_text_of_a_file_with_a_failed_test_repeats_its_failure_in_jest(
    counts: Any, results: int, tmp_path: Path
) -> None:
    report = report_of(file_of(case_of("failed"), status="failed", message="● cart › adds\n\n  no"), counts=counts)

    assert len(convert_text(report, tmp_path)[1]) == results


@pytest.mark.parametrize("message", ["● Test suite failed to run\n\n    no module", ""])
def test_error_that_jest_junit_adds_to_the_tests_is_one_of_the_file(message: str, tmp_path: Path) -> None:
    added = {"ancestorTitles": [], "duration": 0, "failureMessages": ["no module"], "status": "error"}
    _, results = convert_text(report_of(file_of(added, message=message)), tmp_path)

    assert [(result["name"], result["status"]) for result in results] == [("(suite)", "error")]


def test_report_without_success_and_without_a_failed_test_lacks_failures(tmp_path: Path) -> None:
    of_coverage, _ = convert_text(report_of(file_of(case_of()), success=False), tmp_path)
    passed, _ = convert_text(report_of(file_of(case_of()), success=True), tmp_path)

    assert (of_coverage.failures_missing, passed.failures_missing) == (True, False)


@pytest.mark.parametrize("case", [case_of("failed"), case_of("passed", invocations=2)], ids=["failed", "flaky"])
def test_report_without_success_contains_its_failures(case: Any, tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(file_of(case), success=False), tmp_path)

    assert not summary.failures_missing


def test_interrupted_run_lacks_failures(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(file_of(case_of()), wasInterrupted=True), tmp_path)

    assert summary.failures_missing
    assert summary.notes == ("wasInterrupted: the run was interrupted, so that tests can be missing",)


@pytest.mark.parametrize(
    ("counts", "notes"),
    [
        ({"numTotalTests": 2}, ("tests: the report declares 2, but contains 1",)),
        ({"numTotalTests": 1, "numPendingTests": 0, "numTodoTests": 0}, ()),
        ({"numRuntimeErrorTestSuites": 1}, ("errors: the report declares 1, but contains 0",)),
        ({"numFailedTests": 1}, ("failures: the report declares 1, but contains 0",)),
    ],
    ids=range(4),
)
def test_declared_counts_are_compared(counts: Any, notes: tuple[str, ...], tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(file_of(case_of()), counts=JEST | counts), tmp_path)

    assert summary.notes == notes


@pytest.mark.parametrize(
    ("titles", "declared", "missing"),
    [
        ([["cart"], ["cart"]], 2, False),
        ([["cart"], ["cart"]], 3, True),
        ([["cart", "totals"], ["cart"], ["shop"]], 4, False),
        ([["cart", "totals"], ["cart", "totals"], []], 3, False),
        ([[], []], 1, False),
    ],
    ids=range(5),
)
def test_failed_suites_of_vitest_are_compared(titles: Any, declared: int, missing: bool, tmp_path: Path) -> None:
    tests = [case_of("failed", ancestorTitles=each) for each in titles]
    counts = VITEST | {"numFailedTestSuites": declared}

    summary, _ = convert_text(report_of(file_of(*tests, status="failed"), counts=counts), tmp_path)

    assert summary.failures_missing == missing


@pytest.mark.parametrize(("declared", "missing"), [(4, False), (5, True)])
def test_failed_suites_with_equal_titles_in_two_files_are_two(declared: int, missing: bool, tmp_path: Path) -> None:
    files = [file_of(case_of("failed"), status="failed")] * 2
    counts = VITEST | {"numFailedTestSuites": declared}

    assert convert_text(report_of(*files, counts=counts), tmp_path)[0].failures_missing == missing


@pytest.mark.parametrize(("declared", "missing"), [(2, False), (3, True)])
def test_failed_file_without_a_message_explains_a_failed_suite(declared: int, missing: bool, tmp_path: Path) -> None:
    file = file_of(case_of("skipped"), status="failed", message="")
    counts = VITEST | {"numFailedTestSuites": declared}

    assert convert_text(report_of(file, counts=counts), tmp_path)[0].failures_missing == missing


def test_names_that_follow_many_tests_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jest, "_MAX_SIZE", 300)
    tests = [case_of(fullName=f"cart adds {number}") for number in range(20)]

    _, results = convert_text(report_of(file_of(*tests), file_of(case_of(), name="/ci/b.test.js")), tmp_path)

    assert [result["name"] for result in results] == [f"cart adds {number}" for number in range(20)] + ["cart adds"]
    assert [result["suite"] for result in results] == ["cart.test.js > cart"] * 20 + ["b.test.js > cart"]


@pytest.mark.parametrize("is_of_file", [True, False], ids=["file", "run"])
def test_coverage_can_be_larger_than_other_values(
    is_of_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_json, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(streams_json, "_MAX_VALUE", 500)
    coverage = {"coverage": {str(number): "a" * 100 for number in range(100)}}
    of_file, of_run = (coverage, {}) if is_of_file else ({}, coverage)

    summary, _ = convert_text(report_of(file_of(case_of(), **of_file), **of_run), tmp_path)

    assert summary.results == 1


def test_meta_and_tags_are_properties(tmp_path: Path) -> None:
    test = case_of(meta={"issue": "SHOP-7", "owner": {"team": "cart"}}, tags=["smoke", "slow"])

    assert convert_one(test, tmp_path, VITEST)["properties"] == {
        "tags": "smoke\nslow", "issue": "SHOP-7", "owner": '{"team": "cart"}',
    }  # fmt: skip


@pytest.mark.parametrize("test", [7, None, case_of(title=None, fullName=None), case_of(title=[], fullName={})])
def test_test_without_a_name_is_passed_on(test: Any, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as error:
        convert_text(report_of(file_of(test)), tmp_path)

    assert error.value.errors()[0]["loc"][0] == 0


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ('{"numTotalTestSuites": 0}', "testResults: must be a list"),
        ('{"numTotalTestSuites": 0, "testResults": {}}', "testResults: must be a list"),
        (report_of(7), "testResults: must be a list of objects"),
        (report_of({"name": "a"}), "testResults.assertionResults: must be a list"),
        (report_of({"assertionResults": None}), "testResults.assertionResults: must be a list"),
        (report_of() + "{}", "unexpected data"),
        (report_of(file_of(case_of()))[:-9], "invalid JSON: .* The file must be complete"),
    ],
    ids=range(7),
)
def test_malformed_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
