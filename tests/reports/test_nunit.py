"""Conversion of NUnit 3 XML to results."""

from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.streams import xml
from tests.reports.conversions import convert_text
from tests.reports.tools.reading import read_run

CLASS = "Shop.Tests.CartTests"


def report_of(content: str, run: str = 'result="Passed"') -> str:
    return f"<test-run {run}>{content}</test-run>"


def case_of(attributes: str = 'result="Passed"', content: str = "", name: str = "Adds") -> str:
    return f'<test-case name="{name}" fullname="{CLASS}.{name}" classname="{CLASS}" {attributes}>{content}</test-case>'


def suite_of(attributes: str, content: str = "", cases: str = "") -> str:
    return f'<test-suite type="TestFixture" fullname="{CLASS}" {attributes}>{content}{cases}</test-suite>'


def failure_of(message: str) -> str:
    return f"<failure><message>{message}</message></failure>"


def read_case(case: str, folder: Path) -> Any:
    _, (result,) = convert_text(report_of(case), folder)
    return result


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ('result="Passed"', "passed"), ('result="Warning"', "passed"), ('result="Failed"', "failed"),
        ('result="Failed" label="Error"', "error"), ('result="Failed" label="Invalid"', "error"),
        ('result="Failed" label="Cancelled"', "canceled"),  # codespell:ignore cancelled
        ('result="Failed" label="the cart"', "failed"),
        ('result="Skipped" label="Invalid"', "skipped"), ('result="Skipped" label="Explicit"', "skipped"),
        ('result="Inconclusive"', "error"), ('result="Failed(Child)"', "failed"), ('result="Odd"', "error"),
        ('result="PASSED"', "passed"), ('result=""', "error"), ("", "error"),
        ('result="Passed" label="Error"', "passed"),
    ],
)  # fmt: skip
def test_results_and_labels(attributes: str, status: str, tmp_path: Path) -> None:
    assert read_case(case_of(attributes), tmp_path)["status"] == status


def test_unknown_result_names_the_word(tmp_path: Path) -> None:
    assert read_case(case_of('result="Odd"'), tmp_path)["failure"] == {"message": "unknown status 'Odd'"}


@pytest.mark.parametrize(
    ("attributes", "suite", "name"),
    [
        (f'name="Adds(1)" fullname="{CLASS}.Adds(1)" classname="{CLASS}"', CLASS, "Adds(1)"),
        (f'name="Adds" fullname="{CLASS}(42).Adds" classname="{CLASS}"', f"{CLASS}(42)", "Adds"),
        (f'name="Adds" fullname="{CLASS}&lt;Int32&gt;.Adds" classname="{CLASS}`1"', f"{CLASS}<Int32>", "Adds"),
        ('name="Adds" fullname="Fixture - Adds"', "a/b::C", "Adds"),
        ('name="a/b::C::adds[1]" fullname="a/b::C::adds[1]" classname="C"', "a/b::C", "adds[1]"),
        ('name="Adds" classname="K"', "K", "Adds"),
        ('name="/builds/shop/tests/cart.txt" fullname="x"', "a/b::C", "cart.txt"),
        ('name="Adds"', "a/b::C", "Adds"),
        ("", "a/b::C", "a/b::C"),
    ],
    ids=["method", "parametrized fixture", "generic fixture", "TestCafe", "pytest", "class", "path", "name", "empty"],
)
def test_identity_of_a_case(attributes: str, suite: str, name: str, tmp_path: Path) -> None:
    result = read_case(
        f'<test-suite fullname="a/b::C"><test-case {attributes} result="Passed"/></test-suite>', tmp_path
    )

    assert (result["suite"], result["name"]) == (suite, name)


def test_case_of_a_method_with_parameters_belongs_to_its_class(tmp_path: Path) -> None:
    case = f'<test-case name="even numbers" fullname="Even" classname="{CLASS}" result="Passed"/>'
    result = read_case(f'<test-suite type="ParameterizedMethod" fullname="{CLASS}.Even">{case}</test-suite>', tmp_path)

    assert (result["suite"], result["name"]) == (CLASS, "even numbers")


@pytest.mark.parametrize("outcome", ["", 'site="SetUp"', 'site="Parent"', 'label="Error"'])
def test_identity_does_not_depend_on_outcomes(outcome: str, tmp_path: Path) -> None:
    failed = read_case(case_of(f'result="Failed" {outcome}', failure_of("no stock")), tmp_path)

    assert (failed["suite"], failed["name"]) == (CLASS, "Adds")


@pytest.mark.parametrize("site", ["SetUp", "TearDown"])
def test_failure_of_a_fixture_is_a_separate_result(site: str, tmp_path: Path) -> None:
    suite = suite_of(f'result="Failed" label="Error" site="{site}"', failure_of("no database"), case_of())
    summary, (case, fixture) = convert_text(report_of(suite), tmp_path)

    assert case["status"] == "passed"
    assert (fixture["suite"], fixture["name"], fixture["status"]) == (CLASS, "(suite)", "error")
    assert fixture["failure"] == {"message": "no database"}
    assert not summary.failures_missing


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('result="Failed" site="Child"', "One or more child tests had errors"),
        ('result="Failed" site="Parent"', "OneTimeSetUp: no database"),
        ('result="Failed"', "One or more child tests had errors"),
        ('result="Failed"', ""),
        ('result="Passed"', "no database"),
        ('result="Inconclusive"', ""),
    ],
)
def test_failure_of_other_suites_and_cases_is_no_separate_result(attributes: str, message: str, tmp_path: Path) -> None:
    failed = case_of('result="Failed"', failure_of("total is wrong"))
    _, results = convert_text(report_of(suite_of(attributes, failure_of(message), failed)), tmp_path)

    assert [result["name"] for result in results] == ["Adds"]


def test_suite_that_cannot_run_is_a_separate_result_without_a_site(tmp_path: Path) -> None:
    suite = suite_of('result="Failed" label="Invalid"', failure_of("No suitable constructor was found"))
    _, (result,) = convert_text(report_of(suite), tmp_path)

    assert (result["name"], result["status"]) == ("(suite)", "error")


@pytest.mark.parametrize(("file", "name"), [("C:\\ci\\Shop.dll", "Shop.dll"), ("/ci/Shop", "Shop"), ("", "")])
def test_assembly_is_named_without_its_folder(file: str, name: str, tmp_path: Path) -> None:
    suite = f'<test-suite type="Assembly" fullname="{file}" result="Failed" site="TearDown"/>'
    _, (result,) = convert_text(report_of(suite), tmp_path)

    assert (result["suite"], result["name"], result["status"]) == (name, "(suite)", "failed")


@pytest.mark.parametrize(("status", "names"), [("Failed", [f"1-{CLASS}-stdout.txt"]), ("Passed", [])])
def test_output_of_a_suite_belongs_to_the_run_if_a_case_did_not_pass(
    status: str, names: list[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(report_of(suite_of("", "<output>connecting</output>", case_of(f'result="{status}"'))))

    assert list(read_run(report).output) == names


@pytest.mark.parametrize(
    ("run", "suite", "is_missing"),
    [
        ('result="Failed(Child)"', "", True), ('result="Odd"', "", True), ('failed="1"', "", True),
        ('inconclusive="1"', "", True), ("", 'result="Failed" site="Child"', True),
        ('result="Inconclusive"', "", False),
        ('result="Passed" failed="0"', 'result="Inconclusive"', False), ('result="Warning"', "", False),
        ('result="Skipped:Ignored(Child)"', 'result="Skipped" label="Ignored"', False),
        ('result="Failed:Error(Child)"', "", True),
    ],
)  # fmt: skip
def test_failed_run_without_a_failure_misses_its_failures(
    run: str, suite: str, is_missing: bool, tmp_path: Path
) -> None:
    summary, results = convert_text(report_of(suite_of(suite, cases=case_of()), run), tmp_path)

    assert (len(results), summary.failures_missing) == (1, is_missing)


def test_failure_reason_and_assertions(tmp_path: Path) -> None:
    failure = (
        "<failure><message> Expected: 1\n</message><stack-trace>  at Cart:8\n  at Stock:2\n</stack-trace></failure>"
    )
    assertions = '<assertions><assertion result="Failed"><message>again</message></assertion></assertions>'
    failed = read_case(case_of('result="Failed"', failure + assertions), tmp_path)
    skipped = read_case(case_of('result="Skipped"', "<reason><message>later</message></reason>"), tmp_path)
    empty = read_case(
        case_of('result="Failed"', "<failure><message/><stack-trace>None</stack-trace></failure>"), tmp_path
    )

    assert failed["failure"] == {"message": "Expected: 1", "details": "  at Cart:8\n  at Stock:2"}
    assert skipped["failure"] == {"message": "later"}
    assert "failure" not in empty


def test_indentation_of_the_elements_of_a_failure_is_removed(tmp_path: Path) -> None:
    failure = "<failure>\n <message>\n  a\n </message>\n <stack-trace>\n  at Cart:8\n </stack-trace></failure>"

    assert read_case(case_of('result="Failed"', failure), tmp_path)["failure"] == {
        "message": "a",
        "details": "at Cart:8",
    }


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (failure_of("no stock"), "failed"),
        ("<failure><stack-trace>at Cart:8</stack-trace></failure>", "failed"),
        ("<failure><message/><stack-trace>None</stack-trace></failure>", "passed"),
        ("<reason><message>slow</message></reason>", "passed"),
        (f'<properties><property name="python-version" value="3"/></properties>{failure_of("xfail")}', "passed"),
    ],
    ids=["message", "stack trace", "empty", "reason", "pytest-nunit"],
)
def test_passed_case_with_the_text_of_a_failure_failed(content: str, status: str, tmp_path: Path) -> None:
    result = read_case(case_of('result="Passed"', f"{content}<output>adding</output>"), tmp_path)

    assert (result["status"], "failure" in result) == (status, status == "failed")


def test_properties_without_those_of_nunit_itself(tmp_path: Path) -> None:
    pairs = (
        ("Category", "fast"), ("Category", "db"), ("_SKIPREASON", "no"), ("", "no name"), ("Owner", "ann"),
        ("retryIteration", "0"), ("repeatIteration", "2"),
    )  # fmt: skip
    properties = "".join(f'<property name="{name}" value="{value}"/>' for name, value in pairs)
    case = case_of(content=f"<properties>{properties}</properties>")
    of_suite = '<properties><property name="platform" value="PlayMode"/></properties>'
    result = read_case(suite_of("", of_suite, case), tmp_path)

    assert result["properties"] == {"Category": "fast\ndb", "Owner": "ann", "repeatIteration": "2"}


def test_attachments_are_references(tmp_path: Path) -> None:
    attachment = (
        "<attachments><attachment><filePath>/ci/a.png</filePath><description><![CDATA[the cart]]></description>"
        "</attachment><attachment><filePath>b.txt</filePath></attachment></attachments><filePath>c</filePath>"
    )
    result = read_case(case_of(content=attachment), tmp_path)

    assert result["artifacts"] == [
        {"kind": "screenshot", "name": "the cart.png", "uri": "/ci/a.png"},
        {"kind": "log", "name": "b.txt", "uri": "b.txt"},
    ]


def test_times_count_only_with_a_zone(tmp_path: Path) -> None:
    run = 'start-time="2026-05-20 12:00:00Z" end-time="2026-05-20 12:00:05Z" duration="4.5"'
    local = case_of('result="Passed" start-time="2026-05-20 12:00:00" duration="0.25"')
    summary, (result,) = convert_text(report_of(local, run), tmp_path)
    timed = read_case(case_of('result="Passed" start-time="2026-05-20 12:00:00Z" time="0.007"'), tmp_path)

    assert (str(summary.times[0].started_at), summary.times[0].duration_ms) == ("2026-05-20 12:00:00+00:00", 4_500)
    assert str(summary.completed_at) == "2026-05-20 12:00:05+00:00"
    assert (result.get("started_at"), result["duration_ms"]) == (None, 250)
    assert (str(timed["started_at"]), timed["duration_ms"]) == ("2026-05-20 12:00:00+00:00", 7)


def test_invalid_numbers_are_noted_or_ignored(tmp_path: Path) -> None:
    case = case_of('result="Passed" duration="soon" start-time="never"')
    summary, (result,) = convert_text(report_of(case, 'total="x" failed="-1"'), tmp_path)

    assert result.keys() == {"suite", "name", "status"}
    assert summary.notes == ("duration: 1 durations are invalid, such as 'soon'. They are stored as unknown.",)
    assert (summary.declared, summary.failures_missing) == ({}, False)


def test_repeated_case_is_a_further_occurrence(tmp_path: Path) -> None:
    _, results = convert_text(report_of(case_of('result="Failed"') + case_of()), tmp_path)

    assert [(result["name"], result["status"], "attempts" in result) for result in results] == [
        ("Adds", "failed", False),
        ("Adds", "passed", False),
    ]


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("<test-run><test-case>", "not well-formed XML"),
        ('<!DOCTYPE test-run [<!ENTITY a "b">]><test-run>&a;</test-run>', "the DOCTYPE must not contain declarations"),
        ("<test-run>" + "<test-suite>" * 300, "nested more than 200 levels"),
    ],
)
def test_hostile_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"


def test_large_tags_of_nested_elements_are_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(xml, "_LARGE_TAG_BYTES", 100_000)
    monkeypatch.setattr(xml, "_MAX_LARGE_TAGS_BYTES", 500_000)
    start, end = f'<test-suite name="{"x" * 300_000}">', "</test-suite>"

    assert convert_text(report_of(f"{start}{end}" * 5), tmp_path)[1] == []
    with pytest.raises(ReportError, match="nested elements have tags of more than 500000 bytes together"):
        convert_text(report_of(start * 3 + end * 3), tmp_path)
