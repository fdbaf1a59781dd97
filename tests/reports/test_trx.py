"""Conversion of TRX, the format of `dotnet test --logger trx`, to results."""

from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from service.reports.conversion.times import timespan_ms
from service.reports.streams import kept_values
from service.reports.streams.kept_values import TextsByTest
from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import OWN


def report_of(results: str, summary: str = "") -> str:
    return f"<TestRun><Results>{results}</Results>{summary}</TestRun>"


def test_results_have_the_class_of_their_definition(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "mstest.trx", tmp_path)

    assert summary.format == "trx"
    found = [(result.get("suite"), result["name"], result["status"], result.get("duration_ms")) for result in results]
    assert found == [
        ("Shop.Tests.CartTests", "AddsProduct", "passed", 59.742),
        ("Shop.Tests.CartTests", "AppliesDiscount", "failed", 3.151),
        ("Shop.Tests.ShippingTests", "ShipsAbroad", "skipped", None),
        ("Shop.Tests.CartTests", "Totals (1,2)", "passed", 10),
        ("Shop.Tests.CartTests", "Totals (2,2)", "failed", 10),
        ("Shop.Tests.CartTests", "Totals", "failed", 20),
        ("Shop.Tests.StockTests", 'Counts(item: "a")', "error", 62_500),
        ("orders.orderedtest", "Orders", "error", None),
    ]  # fmt: skip


def test_failures_and_skip_reasons_are_read(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "mstest.trx", tmp_path)

    assert [result.get("failure") for result in results] == [
        None,
        {
            "message": "Assert.AreEqual failed. Expected:<80>. Actual:<90>.",
            "details": "   at Shop.Tests.CartTests.AppliesDiscount() in /src/Shop.Tests/CartTests.cs:line 21",
        },
        {"message": "no carrier"},
        None,
        {"message": "Expected 5"},
        None,
        None,
        {"message": "The agent stopped."},
    ]


def test_files_and_times_are_read(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "mstest.trx", tmp_path)

    assert results[1].get("artifacts") == [
        {
            "kind": "screenshot",
            "name": "screen.png",
            "uri": "e0000000-0000-4000-8000-000000000002/build-7/screen.png",
        }
    ]
    assert str(results[0].get("started_at")) == "2026-05-20 10:00:01+00:00"
    assert str(summary.times[0].started_at) == "2026-05-20 10:00:00.250000+00:00"
    assert str(summary.completed_at) == "2026-05-20 10:00:04.750000+00:00"


def test_declared_counts_agree(tmp_path: Path) -> None:
    summary, _ = convert_all(OWN / "mstest.trx", tmp_path)

    assert summary.declared == {"tests": 8, "failures": 3, "errors": 2}
    assert (summary.notes, summary.failures_missing) == ((), False)


def test_error_of_the_run_is_a_result_if_no_test_failed(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "mstest-aborted.trx", tmp_path)

    assert [(result.get("suite"), result["name"], result["status"]) for result in results] == [
        ("Shop.Tests.CartTests", "AddsProduct", "passed"),
        ("Shop.Tests.CartTests", "AppliesDiscount", "skipped"),
        ("", "(suite)", "error"),
    ]
    assert results[2].get("failure") == {
        "message": "The active test run was aborted. Reason: Test host process crashed\nOut of memory."
    }
    assert not summary.failures_missing


def test_failed_run_without_a_reason_misses_its_failures(tmp_path: Path) -> None:
    passed = '<UnitTestResult testName="a" outcome="Passed"/>'
    summary, results = convert_text(report_of(passed, '<ResultSummary outcome="Failed"/>'), tmp_path)

    assert (len(results), summary.failures_missing) == (1, True)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("Passed", "passed"), ("PassedButRunAborted", "passed"), ("Warning", "passed"), ("Failed", "failed"),
        ("Timeout", "error"), ("Error", "error"), ("Aborted", "error"), ("NotRunnable", "error"), ("Blocked", "error"),
        ("Disconnected", "error"), ("FAILED", "failed"), ("", "error"), ("Odd", "error"), ("Inconclusive", "error"),
        ("NotExecuted", "skipped"), ("Pending", "skipped"), ("InProgress", "canceled"),
    ],
)  # fmt: skip
def test_outcomes(outcome: str, status: str, tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of(f'<UnitTestResult testName="a" outcome="{outcome}"/>'), tmp_path)

    assert result["status"] == status


def test_unknown_outcome_and_unknown_kind_of_test_are_not_lost(tmp_path: Path) -> None:
    results = '<UnitTestResult testName="a" outcome="Odd"/><VideoTestResult testName="b" outcome="Failed"/>'
    summary, (odd, video) = convert_text(report_of(results, '<ResultSummary outcome="Blocked"/>'), tmp_path)

    assert (odd["status"], odd["failure"]) == ("error", {"message": "unknown status 'Odd'"})
    assert (video["name"], video["status"]) == ("b", "failed")
    assert not summary.failures_missing


@pytest.mark.parametrize("outcome", ["FAILED", "Blocked", "Odd"])
def test_run_with_an_unknown_outcome_declares_failures(outcome: str, tmp_path: Path) -> None:
    passed = '<UnitTestResult testName="a" outcome="Passed"/>'
    summary, _ = convert_text(report_of(passed, f'<ResultSummary outcome="{outcome}"/>'), tmp_path)

    assert summary.failures_missing


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ('<!DOCTYPE TestRun [<!ENTITY a "b">]><TestRun>&a;</TestRun>', "the DOCTYPE must not contain declarations"),
        ("<TestRun>" + "<Results>" * 300, "nested more than 200 levels"),
        (f"<TestRun><UnitTestResult testName='{'x' * 17_000_000}'/></TestRun>", "tag or comment that is larger"),
        ("<TestRun><Results>", "not well-formed XML"),
        ("<TestRun/><TestRun/>", "not well-formed XML"),
    ],
    ids=["entity", "depth", "tag", "truncated", "two documents"],
)
def test_hostile_report_is_rejected(report: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=reason) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"


def test_size_of_texts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_values, "_MAX_SIZE", 10)
    classes = TextsByTest()
    for number in range(1_000):
        assert classes.add(str(number), "Cart" if number % 2 else "Stock")

    assert [classes.find(test_id) for test_id in ("1", "2", "999", "1000")] == ["Cart", "Stock", "Cart", None]
    assert not classes.add("1", "Orders")


def test_categories_and_properties_of_definitions_are_properties(tmp_path: Path) -> None:
    categories = (
        "<TestCategory><TestCategoryItem TestCategory='slow'/><TestCategoryItem TestCategory='db'/></TestCategory>"
    )
    pairs = (("Owner", "ann &amp; bob"), ("Empty", ""), ("", "no key"), ("Owner", "carol"))
    properties = "".join(f"<Property><Key>{key}</Key><Value>{value}</Value></Property>" for key, value in pairs)
    definition = (
        f"<UnitTest id='A'>{categories}<Properties>{properties}</Properties><TestMethod className='K'/></UnitTest>"
    )
    results = (
        "<UnitTestResult testId='a' testName='n' outcome='Passed'/><UnitTestResult testName='m' outcome='Passed'/>"
    )
    settings = (
        "<TestSettings><Properties><Property><Key>machine</Key><Value>1</Value></Property></Properties></TestSettings>"
    )

    _, (first, second) = convert_text(
        f"<TestRun>{settings}<Results>{results}</Results><TestDefinitions>{definition}</TestDefinitions></TestRun>",
        tmp_path,
    )

    assert first["properties"] == {"TestCategory": "slow\ndb", "Owner": "ann & bob\ncarol", "Empty": ""}
    assert "properties" not in second


def test_properties_and_classes_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    property_ = "<Properties><Property><Key>owner</Key><Value>ann</Value></Property></Properties>"
    definition = f"<UnitTest id='a'>{property_}<TestMethod className='Cart'/></UnitTest>"
    result = "<UnitTestResult testId='a' testName='n' outcome='Passed'/>"
    report = f"<TestRun><Results>{result}</Results><TestDefinitions>{definition}</TestDefinitions></TestRun>"

    monkeypatch.setattr(kept_values, "_MAX_SIZE", 10)
    summary, (stored,) = convert_text(report, tmp_path)

    assert (stored["suite"], stored.get("properties")) == ("Cart", None)
    assert summary.notes[0].startswith("properties: 1 were not stored; ")
    monkeypatch.setattr(kept_values, "_MAX_SIZE", 3)
    with pytest.raises(ReportError, match="the names of all classes together are too large"):
        convert_text(report, tmp_path)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("00:00:00.0597420", 59.742), ("01:02:03", 3_723_000), ("1.02:03:04.5", 93_784_500), ("00:00:00", 0),
        ("00:00:00.0000001", 1), ("-00:00:01", None), ("1:2", None), ("soon", None), ("999999999.00:00:00", None),
    ],
)  # fmt: skip
def test_time_spans(text: str, duration_ms: float | None) -> None:
    assert timespan_ms(text) == duration_ms


def test_invalid_duration_is_noted(tmp_path: Path) -> None:
    report: Any = report_of('<UnitTestResult testName="a" outcome="Passed" duration="soon"/>')
    summary, (result,) = convert_text(report, tmp_path)

    assert "duration_ms" not in result
    assert summary.notes == ("duration: 1 durations are invalid, such as 'soon'. They are stored as unknown.",)
