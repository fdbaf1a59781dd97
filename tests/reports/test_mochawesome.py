"""Conversion of the JSON report of mochawesome to results."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_text


def report_of(*suites: Any, **stats: Any) -> str:
    return json.dumps({"stats": stats, "results": list(suites)})


def suite_of(*tests: Any, title: Any = "cart", **fields: Any) -> Any:
    return {"title": title, "fullFile": "/ci/shop/test/cart.js", "file": "/test/cart.js", "tests": list(tests)} | fields


def case_of(state: Any = "passed", **fields: Any) -> Any:
    return {"title": "adds", "fullTitle": "cart adds", "state": state, **fields}


def hook_of(**fields: Any) -> Any:
    return {"title": '"before each" hook', "fullTitle": 'cart "before each" hook', "isHook": True, **fields}


def convert_one(test: Any, folder: Path) -> Any:
    _, (result,) = convert_text(report_of(suite_of(test)), folder)
    return result


def test_outcomes_do_not_change_the_identity(tmp_path: Path) -> None:
    states = ("passed", "failed", "pending", "skipped", "odd", 7)
    results = [convert_one(case_of(state, err={"message": "Error: no"}), tmp_path) for state in states]

    assert {(result["suite"], result["name"], result["file"]) for result in results} == {
        ("cart", "cart adds", "test/cart.js"),
    }  # fmt: skip
    assert [result["status"] for result in results] == ["passed", "failed", "skipped", "skipped", "error", "error"]


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"pass": True}, "passed"),
        ({"fail": True}, "failed"),
        ({"pending": True}, "skipped"),
        ({"skipped": True}, "skipped"),  # a failed hook prevented the test
        ({"pass": True, "fail": True}, "failed"),
        ({"pass": "yes"}, "error"),
        ({}, "error"),
    ],
    ids=range(7),
)
def test_flags_are_the_status_of_a_test_without_a_state(flags: Any, status: str, tmp_path: Path) -> None:
    assert convert_one(case_of(None, **flags), tmp_path)["status"] == status


def test_unknown_state_is_named(tmp_path: Path) -> None:
    assert convert_one(case_of("paused"), tmp_path)["failure"]["message"] == "unknown status 'paused'"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"fullTitle": None}, "adds"),
        ({"fullTitle": ""}, "cart"),
        ({"fullTitle": "/ci/shop/test/cart.js: adds"}, "cart.js: adds"),
    ],
    ids=range(3),
)
def test_names_without_a_usual_title(fields: Any, name: str, tmp_path: Path) -> None:
    assert convert_one(case_of(**fields), tmp_path)["name"] == name


def test_suite_contains_no_absolute_path(tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of(suite_of(case_of(), title="/ci/shop/test/cart.js")), tmp_path)

    assert result["suite"] == "cart.js"


def test_run_ends_at_the_stated_time(tmp_path: Path) -> None:
    times = {"start": "2026-05-20T12:00:00.000Z", "end": "2026-05-20T12:00:09.000Z"}
    summary, _ = convert_text(report_of(suite_of(case_of()), **times), tmp_path)

    assert (str(summary.times[0].started_at), str(summary.completed_at)) == (
        "2026-05-20 12:00:00+00:00", "2026-05-20 12:00:09+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("full_file", "file", "stored"),
    [
        ("/ci/shop/test/cart.js", "/test/cart.js", "test/cart.js"),
        ("C:\\shop\\test\\cart.js", "\\test\\cart.js", "test/cart.js"),
        ("/ci/shop/test/cart.js", "/ci/shop/test/cart.js", "cart.js"),
        ("", "/ci/shop/test/cart.js", "cart.js"),
        ("cypress/e2e/cart.cy.js", "cypress/e2e/cart.cy.js", "cypress/e2e/cart.cy.js"),
        ("cypress\\e2e\\cart.cy.js", "cypress\\e2e\\cart.cy.js", "cypress/e2e/cart.cy.js"),
        (None, 7, None),
    ],
    ids=range(7),
)
def test_file_is_relative(full_file: Any, file: Any, stored: str | None, tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of(suite_of(case_of(), fullFile=full_file, file=file)), tmp_path)

    assert result.get("file") == stored


def test_nested_suite_without_a_file_has_the_file_of_its_parent(tmp_path: Path) -> None:
    nested = suite_of(case_of(), title="totals", fullFile="", file="")
    _, (result,) = convert_text(report_of(suite_of(title="", suites=[nested])), tmp_path)

    assert (result["suite"], result["file"]) == ("totals", "test/cart.js")


def test_fields_of_other_types_are_missing(tmp_path: Path) -> None:
    summary, (result,) = convert_text(
        report_of(suite_of(case_of("failed", err=[], duration=[], context=7)), start=7, duration="x", tests="x"),
        tmp_path,
    )

    assert result == {"suite": "cart", "name": "cart adds", "file": "test/cart.js", "status": "failed"}
    assert (summary.times[0].started_at, summary.times[0].duration_ms, summary.declared) == (None, None, {})
    assert summary.notes == ("duration: 1 durations are invalid, such as '[]'. They are stored as unknown.",)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"message": "AssertionError: 1 == 2", "estack": "AssertionError: 1 == 2\n    at a", "diff": "- 1\n+ 2\n"},
         {"type": "AssertionError", "message": "1 == 2", "details": "AssertionError: 1 == 2\n    at a\n\n- 1\n+ 2\n"}),
        ({"message": "TypeError", "estack": "TypeError\n    at a", "diff": None},
         {"type": "TypeError", "details": "TypeError\n    at a"}),
        ({"message": "\x1b[31mno stock\x1b[0m", "diff": [{"value": "1", "added": True}]}, {"message": "no stock"}),
        ({"message": "two words: no"}, {"message": "two words: no"}),
        ({}, None),
    ],
    ids=range(5),
)  # fmt: skip
def test_failure(error: Any, failure: Any, tmp_path: Path) -> None:
    assert convert_one(case_of("failed", err=error), tmp_path).get("failure") == failure


@pytest.mark.parametrize(
    ("context", "artifacts", "properties"),
    [
        ("SHOP-7", {}, {"context": "SHOP-7"}),
        (["a", "b", "a"], {}, {"context": "a\nb"}),
        ({"title": "issue", "value": "SHOP-7"}, {}, {"issue": "SHOP-7"}),
        ({"title": "basket", "value": {"sum": 3}}, {}, {"basket": '{"sum": 3}'}),
        ({"sum": 3}, {}, {"context": '{"sum": 3}'}),
        ("shots/cart -- pays (failed).png", {"cart -- pays (failed).png": "screenshot"}, {}),
        ({"title": "video", "value": "https://ci.example/a.mp4"}, {"video.mp4": "video"}, {}),
        ({"title": "Failed screenshots", "value": ["a/1.png", "b/1.png"]},
         {"Failed screenshots.png": "screenshot", "b-1.png": "screenshot"}, {}),
        ({"title": "values", "value": ["a.png", 7]}, {}, {"values": '["a.png", 7]'}),
        ("logs/server.log", {"server.log": "log"}, {}),
        ("look at server.log", {}, {"context": "look at server.log"}),
        ("https://ci.example/issues/7", {}, {"context": "https://ci.example/issues/7"}),
        ("data:image/png;base64,aGk=.png", {}, {"context": "data:image/png;base64,aGk=.png"}),
        (["", None, []], {}, {}),
    ],
    ids=range(14),
)  # fmt: skip
def test_context_is_files_and_properties(context: Any, artifacts: Any, properties: Any, tmp_path: Path) -> None:
    result = convert_one(case_of(context=json.dumps(context)), tmp_path)

    assert {each["name"]: each["kind"] for each in result.get("artifacts", ())} == artifacts
    assert result.get("properties", {}) == properties


def test_context_that_is_no_json_is_a_text(tmp_path: Path) -> None:
    assert convert_one(case_of(context="{no JSON"), tmp_path)["properties"] == {"context": "{no JSON"}


def test_context_that_is_too_large_is_noted(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(suite_of(case_of(context=json.dumps("a b " * 5_000)))), tmp_path)

    assert [note.partition(";")[0] for note in summary.notes] == ["properties: 1 were not stored"]


@pytest.mark.parametrize("key", ["beforeHooks", "afterHooks"])
@pytest.mark.parametrize(
    "fields", [{"state": "failed"}, {"fail": True}, {"err": {"message": "Error: no"}}, {"state": "odd"}], ids=range(4)
)
def test_failed_hook_is_a_result(key: str, fields: Any, tmp_path: Path) -> None:
    summary, results = convert_text(report_of(suite_of(case_of(), **{key: [hook_of(**fields), 7]}), other=1), tmp_path)

    failed = [result for result in results if result["status"] != "passed"]
    assert [(result["suite"], result["name"]) for result in failed] == [("cart", 'cart "before each" hook')]
    assert failed[0]["status"] == ("error" if fields == {"state": "odd"} else "failed")
    assert (summary.notes, summary.failures_missing) == ((), False)


@pytest.mark.parametrize("fields", [{}, {"state": None, "err": {}}, {"state": "passed", "fail": False}], ids=range(3))
def test_other_hooks_are_no_results(fields: Any, tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(suite_of(case_of(), beforeHooks=[hook_of(**fields)])), tmp_path)

    assert summary.results == 1


@pytest.mark.parametrize(
    ("stats", "notes", "missing"),
    [
        ({"testsRegistered": 1, "tests": 0}, (), False),
        ({"tests": 2}, ("tests: the report declares 2, but contains 1",), False),
        ({"failures": 1}, ("failures: the report declares 1, but contains 0",), True),
        ({"other": 1}, ("failures: the report declares 1, but contains 0",), True),
        ({"failures": -1, "other": 0, "pending": 0, "skipped": 0}, (), False),
    ],
    ids=range(5),
)
def test_declared_counts_are_compared(stats: Any, notes: tuple[str, ...], missing: bool, tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(suite_of(case_of()), **stats), tmp_path)

    assert (summary.notes, summary.failures_missing) == (notes, missing)


def test_run_without_any_suite_has_no_results(tmp_path: Path) -> None:
    summary, results = convert_text(report_of(False, tests=0), tmp_path)

    assert (summary.format, results) == ("mochawesome", [])


@pytest.mark.parametrize("test", [7, None, case_of(title=None, fullTitle=None), case_of(title=[], fullTitle={})])
def test_test_without_a_name_is_passed_on(test: Any, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as error:
        convert_text(report_of(suite_of(test)), tmp_path)

    assert error.value.errors()[0]["loc"][0] == 0


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (report_of(7), "results: must be a list of suites"),
        (report_of(suite_of(suites=[False])), "results: must be a list of suites"),
        (report_of(suite_of(title=None)), "suites.title: must be a text before tests"),
        (report_of({"tests": [], "title": "cart"}), "suites.title: must be a text before tests"),
        (report_of({"title": "cart", "tests": None}), "suites.tests: must be a list"),
        (report_of({"title": "cart", "afterHooks": {}}), "suites.afterHooks: must be a list"),
        ('{"stats": {}, "results": [' + '{"title": "a", "suites": [' * 60, "must be nested at most 50 levels"),
        (report_of() + "{}", "unexpected data"),
        (report_of(suite_of(case_of()))[:-9], "invalid JSON"),
    ],
    ids=range(9),
)
def test_malformed_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
