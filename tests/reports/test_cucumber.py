"""Conversion of Cucumber JSON to results."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.formats.cucumber import reader as cucumber_reader
from tests.reports.conversions import convert_text
from tests.reports.tools.reading import ReadCase, ReadRun, read_run

MS = 1_000_000  # nanoseconds
BASE64 = b64encode(b"data").decode()


def step_of(status: Any = "passed", name: str = "a cart", **more: Any) -> Any:
    return {"keyword": "Given ", "name": name, "result": {"status": status, "duration": MS}, **more}


def scenario_of(*statuses: Any, name: str = "pays", **members: Any) -> Any:
    steps = [step_of(status) for status in statuses]
    return {"keyword": "Scenario", "name": name, "line": 3, "type": "scenario", "steps": steps, **members}


def feature_of(*elements: Any, **members: Any) -> Any:
    return {"keyword": "Feature", "elements": list(elements), "name": "Cart", "uri": "features/cart.feature", **members}


def read(folder: Path, *features: Any) -> ReadRun:
    report = folder / "cucumber.json"
    report.write_text(json.dumps(features))
    read_run.cache_clear()
    return read_run(report)


def read_one(folder: Path, element: Any, **members: Any) -> ReadCase:
    """Return the only case of a report with this scenario."""
    [case] = read(folder, feature_of(element, **members)).cases
    return case


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "failed", "skipped"], "failed"),
        (["passed", "undefined", "skipped"], "failed"),
        (["ambiguous"], "failed"),
        (["pending", "skipped"], "failed"),
        (["passed", "skipped", "passed"], "skipped"),
        (["FAILED"], "failed"),
        (["Passed"], "passed"),
        (["Pending"], "failed"),
        (["failed", "error"], "error"),
        (["failed", "unknown"], "failed"),
        (["passed", "unknown"], "error"),
        (["passed", None], "error"),
        (["passed", 7], "error"),
        ([], "skipped"),
    ],
)
def test_worst_status_of_the_steps_is_that_of_the_scenario(statuses: list[Any], status: str, tmp_path: Path) -> None:
    assert read_one(tmp_path, scenario_of(*statuses)).status == status


def test_unknown_status_is_named_in_the_receipt(tmp_path: Path) -> None:
    run = read(tmp_path, feature_of(scenario_of("passed", "unknown")))

    assert (run.cases[0].summary, run.problems) == (
        "unknown status 'unknown'", ("status: unknown status 'unknown'; stored as error",),
    )  # fmt: skip


def test_outcomes_never_change_the_identity(tmp_path: Path) -> None:
    keys = {read_one(tmp_path, scenario_of(status)).key for status in ("passed", "failed", "undefined", "skipped")}
    assert len(keys) == 1


def test_step_without_a_result_is_an_error_unless_another_status_explains_it(tmp_path: Path) -> None:
    element = scenario_of("passed")
    element["steps"].append({"keyword": "Then ", "name": "it ends"})
    case = read_one(tmp_path, element)
    assert (case.status, case.summary) == ("error", "The report contains no result of a step: Then it ends")

    element["steps"][0]["result"]["status"] = "failed"
    case = read_one(tmp_path, element)
    assert (case.status, case.summary) == ("failed", "failed: Given a cart")


NO_LIST = "steps: must be a list, which is empty if the scenario has no steps"
NOT_EXECUTED = {"keyword": "Given ", "name": "a cart"}
PASSED_HOOK = {"result": {"status": "passed"}}


@pytest.mark.parametrize(
    ("element", "summary"),
    [
        ({}, NO_LIST),
        ({"steps": None}, NO_LIST),
        ({"before": [PASSED_HOOK]}, NO_LIST),
        ({"steps": {}}, "steps: must be a list"),
        ({"steps": ""}, "steps: must be a list"),
        ({"steps": "passed"}, "steps: must be a list"),
        ({"steps": 0}, "steps: must be a list"),
        ({"steps": {"result": {"status": "passed"}}}, "steps: must be a list"),
        ({"steps": [NOT_EXECUTED]}, "The report contains no result of a step: Given a cart"),
        ({"steps": [NOT_EXECUTED, NOT_EXECUTED]}, "The report contains no result of a step: Given a cart"),
        ({"steps": [NOT_EXECUTED], "before": [PASSED_HOOK]}, "The report contains no result of a step: Given a cart"),
        ({"steps": [None]}, "The report contains no result of a step: "),
        ({"steps": [{}]}, "The report contains no result of a step: "),
        ({"steps": [{**NOT_EXECUTED, "result": None}]}, "The report contains no result of a step: Given a cart"),
        ({"steps": [step_of()], "after": {}}, "after: must be a list"),
        ({"steps": [step_of(before="none")]}, "before: must be a list"),
        ({"steps": [], "before": [{}]}, "The report contains no result of a step: Before hook"),
    ],
    ids=str,
)
def test_scenario_without_results_of_its_steps_is_an_error(element: Any, summary: str, tmp_path: Path) -> None:
    case = read_one(tmp_path, element)
    assert (case.status, case.message) == ("error", summary)


@pytest.mark.parametrize("steps", [{}, "", [7], [None, step_of("failed")]], ids=str)
def test_unreadable_background_is_no_passed_scenario(steps: Any, tmp_path: Path) -> None:
    background = {"type": "background", "name": "", "steps": steps}
    cases = read(tmp_path, feature_of(background, scenario_of("passed"))).cases
    assert all(case.status in ("failed", "error") for case in cases)


@pytest.mark.parametrize("status", ["skipped", "untested"])
def test_behave_states_that_a_scenario_was_skipped(status: str, tmp_path: Path) -> None:
    case = read_one(tmp_path, scenario_of(steps=[NOT_EXECUTED], status=status))
    assert (case.status, case.message) == ("skipped", None)


def test_hooks_alone_are_no_passed_scenario(tmp_path: Path) -> None:
    hook = {"result": {"status": "passed"}}
    assert read_one(tmp_path, scenario_of(before=[hook], after=[hook])).status == "skipped"
    hidden = {"keyword": "Before", "hidden": True, "result": {"status": "passed"}}
    assert read_one(tmp_path, scenario_of(steps=[hidden])).status == "skipped"


@pytest.mark.parametrize("kind", ["before", "around", "after"])
def test_failed_hook_fails_the_scenario(kind: str, tmp_path: Path) -> None:
    hook: Any = {"match": {"location": "hooks.rb:3"}, "result": {"status": "failed", "error_message": "no database"}}
    members: Any = {kind: [hook]}
    case = read_one(tmp_path, scenario_of("passed", **members))

    assert (case.status, case.message) == ("failed", "no database")
    assert case.details == f"{kind.capitalize()} hook hooks.rb:3\nno database"


@pytest.mark.parametrize("kind", ["before", "after"])
def test_failed_hook_of_a_step_fails_the_scenario(kind: str, tmp_path: Path) -> None:
    hook: Any = {"result": {"status": "failed", "error_message": "no screenshot", "duration": MS}}
    members: Any = {kind: [hook]}
    case = read_one(tmp_path, scenario_of(steps=[step_of(**members)]))
    assert (case.status, case.message, case.duration_ms) == ("failed", "no screenshot", 2)


def test_all_failures_of_a_scenario_are_in_the_details(tmp_path: Path) -> None:
    failed = {"result": {"status": "failed", "error_message": "first"}}
    hook = {"result": {"status": "failed", "error_message": "second"}}
    case = read_one(tmp_path, scenario_of(steps=[step_of() | failed], after=[hook]))
    assert (case.message, case.details) == ("first", "Given a cart\nfirst\n\nAfter hook\nsecond")


def test_background_belongs_to_the_next_scenario(tmp_path: Path) -> None:
    def background(status: str) -> Any:
        return {"type": "background", "name": "", "steps": [step_of(status, "an empty cart")]}

    first, second = scenario_of("skipped", name="first"), scenario_of("passed", name="second")
    run = read(tmp_path, feature_of(background("failed"), first, background("passed"), second))

    assert [(case.name, case.status, case.duration_ms) for case in run.cases] == [
        ("first", "failed", 2), ("second", "passed", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "names"), [("failed", ["(suite)", "pays", "(suite)"]), ("passed", ["pays"])])
def test_failed_background_without_a_scenario_is_a_result(status: str, names: list[str], tmp_path: Path) -> None:
    background = {"type": "background", "name": "", "steps": [step_of(status)]}
    passed = {"type": "background", "name": "", "steps": [step_of()]}
    run = read(tmp_path, feature_of(background, passed, scenario_of("passed"), background))
    assert sorted(case.name for case in run.cases) == sorted(names)


def test_background_without_a_type_is_known_by_its_keyword(tmp_path: Path) -> None:
    background = {"keyword": "Background", "name": "", "steps": [step_of("failed")]}
    run = read(tmp_path, feature_of(background, scenario_of("skipped")))
    assert [(case.name, case.status) for case in run.cases] == [("pays", "failed")]


def test_background_without_results_is_ignored(tmp_path: Path) -> None:
    background = {"type": "background", "name": "", "steps": [{"keyword": "Given", "name": "a cart"}]}
    run = read(tmp_path, feature_of(background, scenario_of("passed"), scenario_of("passed", name="ships")))
    assert [(case.name, case.status) for case in run.cases] == [("pays", "passed"), ("ships", "passed")]


def test_worse_status_of_the_scenario_itself_decides(tmp_path: Path) -> None:
    assert read_one(tmp_path, scenario_of("passed", status="hook_error")).status == "error"
    assert read_one(tmp_path, scenario_of("failed", status="passed")).status == "failed"
    assert read_one(tmp_path, scenario_of("passed", status=None)).status == "passed"
    assert read_one(tmp_path, scenario_of(status="untested")).status == "skipped"


def test_failed_feature_without_a_failed_scenario_is_a_result(tmp_path: Path) -> None:
    run = read(tmp_path, feature_of(scenario_of("passed"), status="hook_error"))
    assert [(case.name, case.status) for case in run.cases] == [("pays", "passed"), ("(suite)", "error")]

    run = read(tmp_path, feature_of(scenario_of("failed"), status="failed"))
    assert [case.name for case in run.cases] == ["pays"]


def test_examples_are_occurrences_in_the_order_of_their_lines(tmp_path: Path) -> None:
    examples = [scenario_of("failed", line=9), scenario_of("passed", line=7), scenario_of("skipped", line=8)]
    for order in (examples, examples[::-1]):
        cases = read(tmp_path, feature_of(*order)).cases
        assert [(case.occurrence, case.line, case.status) for case in cases] == [
            (0, None, "passed"), (1, 8, "skipped"), (2, 9, "failed"),
        ]  # fmt: skip


def test_repeated_scenario_is_no_attempt(tmp_path: Path) -> None:
    cases = read(tmp_path, feature_of(scenario_of("failed"), scenario_of("passed"))).cases
    assert [(case.occurrence, case.status, case.attempt_count) for case in cases] == [
        (0, "failed", 1),
        (1, "passed", 1),
    ]


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("features/cart.feature", "features/cart.feature"),
        ("classpath:com/shop/cart.feature", "com/shop/cart.feature"),
        ("file:src/test/cart.feature", "src/test/cart.feature"),
        ("file:/builds/shop/cart.feature", "cart.feature"),
        ("file:///builds/shop/cart.feature", "cart.feature"),
        ("/builds/shop/cart.feature", "cart.feature"),
        ("tests/../features/cart.feature", "features/cart.feature"),
        ("features\\cart.feature", "features/cart.feature"),
        ("C:\\shop\\cart.feature", "cart.feature"),
        ("", None),
    ],
)
def test_file_is_a_relative_path(uri: str, file: str | None, tmp_path: Path) -> None:
    assert read_one(tmp_path, scenario_of("passed"), uri=uri).file == file


@pytest.mark.parametrize(
    ("location", "suite"),
    [
        ("features/cart.feature:1", "cart.Cart"),
        ("features/shop/cart.feature:1", "shop.cart.Cart"),
        ("e2e/features/cart.feature:1", "cart.Cart"),
        ("cart.feature:1", "cart.Cart"),
    ],
)
def test_suite_of_behave_is_the_class_in_its_junit_xml(location: str, suite: str, tmp_path: Path) -> None:
    feature = feature_of(scenario_of("passed"), location=location)
    del feature["uri"]
    [case] = read(tmp_path, feature).cases
    assert (case.suite, case.file) == (suite, location.removesuffix(":1"))


def test_names_of_features_and_scenarios_contain_no_absolute_path(tmp_path: Path) -> None:
    case = read_one(tmp_path, scenario_of("passed", name="/builds/shop/cart.rb:7"), name="/builds/shop/a.feature")
    assert (case.suite, case.name) == ("a.feature", "cart.rb:7")


def test_missing_names_are_replaced(tmp_path: Path) -> None:
    case = read_one(tmp_path, scenario_of("passed", name=""), name=7)
    assert (case.suite, case.name) == ("features/cart.feature", "Scenario")


def test_durations_of_behave_are_seconds(tmp_path: Path) -> None:
    element = scenario_of("failed", location="features/cart.feature:3")
    del element["line"]
    element["steps"][0]["result"]["duration"] = 1.5
    case = read_one(tmp_path, element)
    assert (case.duration_ms, case.line) == (1500, 3)


@pytest.mark.parametrize("duration", ["12", True, -1, 1e300, 10**400, [1]], ids=str)
def test_invalid_duration_is_unknown_and_noted(duration: Any, tmp_path: Path) -> None:
    element = scenario_of("passed", "passed")
    element["steps"][0]["result"]["duration"] = duration
    run = read(tmp_path, feature_of(element))

    assert run.cases[0].duration_ms == 1
    assert run.problems[0].startswith("duration: 1 durations are invalid, such as")


def test_tags_of_feature_and_scenario_are_one_property(tmp_path: Path) -> None:
    tags = [{"name": "@shop"}, {"name": "@slow", "line": 2}, {"name": 7}, 7]
    case = read_one(tmp_path, scenario_of("passed", tags=tags), tags=[{"name": "@shop"}])
    assert case.properties == {"tags": "@shop\n@slow"}


def test_embedded_files_are_stored_with_passed_results_too(tmp_path: Path) -> None:
    embeddings = [
        {"data": BASE64, "mime_type": "image/png"},
        {"data": BASE64, "media": {"type": "image/png"}},
        {"data": f"data:text/html;base64,{BASE64}", "mime_type": "text/html", "name": "../page"},
        {"data": f"{BASE64[:4]}\n{BASE64[4:]}", "mime_type": "text/plain", "name": "notes.md"},
    ]
    case = read_one(tmp_path, scenario_of(steps=[step_of(embeddings=embeddings)]))

    assert {name: file.content for name, file in case.embedded.items()} == {
        "screenshot.png": b"data", "2-screenshot.png": b"data", "page.html": b"data", "notes.md": b"data",
    }  # fmt: skip
    assert (case.status, case.output) == ("passed", {})


def test_logs_are_output_of_results_that_did_not_pass(tmp_path: Path) -> None:
    log = [{"data": BASE64, "mime_type": "text/plain"}, {"data": "no Base64!", "mime_type": "text/plain"}]
    steps = [step_of(embeddings=log, output=["one", 7]), step_of("failed", output="two")]
    case = read_one(tmp_path, scenario_of(steps=steps))
    assert (case.output["log.txt"], case.embedded) == ("one\ndata\nno Base64!\ntwo", {})


def test_invalid_and_superfluous_embedded_files_are_noted(tmp_path: Path) -> None:
    embeddings: list[Any] = [{"data": BASE64, "mime_type": "image/png"}] * 201
    embeddings += [{"data": "no Base64!", "mime_type": "image/png"}, {"mime_type": "image/png"}, 7]
    run = read(tmp_path, feature_of(scenario_of(steps=[step_of(embeddings=embeddings)])))

    assert len(run.cases[0].embedded) == 200
    assert run.problems == (
        "embedded files: 1 aren't valid Base64",
        "embedded files: 1 were not stored; at most 200 per result, 16 MiB per file, and 256 MiB per upload fit",
    )


@pytest.mark.parametrize(
    ("error", "type_", "message"),
    [
        ("Error: no stock\n    at World.<anonymous> (steps.js:3:1)", "Error", "no stock"),
        ("java.lang.AssertionError: \nExpected: 2\n\tat A.b(A.java:1)\n", "java.lang.AssertionError", "Expected: 2"),
        ("no stock (RuntimeError)\n./steps.rb:3:in `pay'", None, "no stock (RuntimeError)"),
        ("first\n\nsecond", None, "first"),
        ("values differ:\n\n1 !== 2\n\nmore", None, "values differ:\n1 !== 2"),
        (["ASSERT FAILED: total is 1", "expected 2"], None, "total is 1\nexpected 2"),
        ("Error:", None, "Error:"),
        ("\tat A.b(A.java:1)", None, "at A.b(A.java:1)"),
        ("\x1b[31mred\x1b[39m", None, "red"),
    ],
)
def test_message_is_the_start_of_the_error(error: Any, type_: str | None, message: str, tmp_path: Path) -> None:
    step = step_of() | {"result": {"status": "failed", "error_message": error}}
    case = read_one(tmp_path, scenario_of(steps=[step]))
    assert (case.type, case.message) == (type_, message)


def test_features_larger_than_the_limit_have_their_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cucumber_reader, "_MAX_PENDING", 2_000)
    features = [
        feature_of(
            *(scenario_of("failed", name=f"{n}", description="x" * 20_000) for n in range(20)),
            name=name,
            tags=[{"name": f"@{name}"}],
        )
        for name in ("Cart", "Checkout")
    ]
    cases = read(tmp_path, feature_of(name="Empty"), *features).cases

    assert [(case.suite, case.name) for case in cases] == [
        (suite, f"{n}") for suite in ("Cart", "Checkout") for n in range(20)
    ]  # fmt: skip
    assert {(case.suite, case.properties["tags"], case.file) for case in cases} == {
        ("Cart", "@Cart", "features/cart.feature"), ("Checkout", "@Checkout", "features/cart.feature"),
    }  # fmt: skip


def test_feature_without_scenarios_has_no_results(tmp_path: Path) -> None:
    summary, results = convert_text(json.dumps([feature_of(elements=None), {"keyword": "Feature"}]), tmp_path)
    assert (summary.format, results) == ("cucumber", [])


def test_long_description_before_the_first_keyword_is_accepted(tmp_path: Path) -> None:
    feature = {"description": 'a "long" text\n' * 500, **feature_of(scenario_of("passed"))}
    summary, results = convert_text(json.dumps([feature]), tmp_path)
    assert (summary.format, len(results)) == ("cucumber", 1)


@pytest.mark.parametrize("key", ["uri", "keyword", "description", "line", "elements", "comments", "id", "metadata"])
def test_first_key_of_a_feature_depends_on_the_tool(key: str, tmp_path: Path) -> None:
    feature = {key: {}, **feature_of(scenario_of("passed"))}
    summary, results = convert_text(json.dumps([feature]), tmp_path)
    assert (summary.format, len(results)) == ("cucumber", 1)


def test_native_results_with_a_property_named_keyword_are_native(tmp_path: Path) -> None:
    result = {"name": "pays", "status": "passed", "properties": {"keyword": "payment"}}
    assert convert_text(json.dumps([result]), tmp_path)[0].format == "json"


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ([feature_of(), 7], "invalid JSON: expected {"),
        ([feature_of(elements={})], "elements: must be a list"),
    ],
)
def test_invalid_structure_is_malformed(report: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        convert_text(json.dumps(report), tmp_path)

    assert (error.value.reason, error.value.message.startswith(message)) == ("malformed_report", True)


def test_truncated_report_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="at the end of the report"):
        convert_text(json.dumps([feature_of(scenario_of("passed"))])[:-2], tmp_path)


def test_element_that_is_no_object_is_rejected_alone(tmp_path: Path) -> None:
    run = read(tmp_path, feature_of(7, scenario_of("passed")))
    assert [case.name for case in run.cases] == ["pays"]
    assert run.problems


@pytest.mark.parametrize("value", [7.5, "x", {"a": 1}, [[1]], [{"cells": 1}], None], ids=str)
def test_value_of_another_type_is_missing(value: Any, tmp_path: Path) -> None:
    keys = ("embeddings", "output", "rows", "doc_string", "arguments", "table", "text", "match", "keyword", "name")
    elements = [scenario_of(steps=[step_of("failed", **{key: value})], line=number) for number, key in enumerate(keys)]
    elements += [
        scenario_of("failed", **{"line": 50, key: value})
        for key in ("tags", "name", "line", "start_timestamp", "keyword", "type", "id")
    ]
    cases = read(tmp_path, feature_of(*elements)).cases
    assert [case.status for case in cases] == ["failed"] * 17
