"""Native results as an object, a list, or lines, and the detection of unsupported JSON."""

from pathlib import Path

import pytest

from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import OWN


def test_object_with_results_sets_fields_of_its_run(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "native.json", tmp_path)

    assert summary.format == "json"
    assert summary.run == {"environment": "staging", "branch": "main", "completed_at": "2026-05-20T12:00:00Z"}
    assert results[0] == {
        "case_id": "tc_login_001",
        "suite": "auth.login",
        "name": "logs in",
        "status": "passed",
        "duration_ms": 812,
    }
    assert results[1]["failure"] == {"message": "expected 200 got 503"}


def test_fields_of_the_run_can_be_at_the_level_of_the_results(tmp_path: Path) -> None:
    summary, _ = convert_text('{"branch": "main", "other": 1, "results": [], "status": "failed"}', tmp_path)

    assert summary.run == {"branch": "main", "status": "failed"}


def test_bare_list_of_results(tmp_path: Path) -> None:
    summary, results = convert_text('[{"name": "a", "status": "passed"}]', tmp_path)

    assert (summary.format, [result["name"] for result in results]) == ("json", ["a"])


def test_one_result_per_line(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "native.ndjson", tmp_path)

    assert summary.format == "ndjson"
    assert [(result["suite"], result["status"]) for result in results] == [
        ("auth.login", "passed"),
        ("shop", "error"),
        ("shop", "skipped"),
    ]


def test_lone_surrogate_is_replaced(tmp_path: Path) -> None:
    _, results = convert_all(OWN / "native.ndjson", tmp_path)

    assert results[1]["name"] == "pays \N{REPLACEMENT CHARACTER} alone"


def test_first_line_can_set_fields_of_the_run(tmp_path: Path) -> None:
    summary, results = convert_text('{"run": {"branch": "main"}}\n{"name": "a", "status": "passed"}\n', tmp_path)

    assert summary.run == {"branch": "main"}
    assert len(results) == 1


@pytest.mark.parametrize(
    ("results", "path"),
    [('[{"name": 1, "status": "odd"}]', (0, "name")), ('[{"status": "passed"}]', (0, "name")), ("[7]", (0,))],
)
def test_invalid_results_are_passed_on_unchanged(results: str, path: tuple[object, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the errors are checked below
        convert_text(results, tmp_path)

    assert [detail["loc"] for detail in error.value.errors()] == [path]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "number", ["1e999", "NaN", "123456789012345678901234567890", "[" * 200 + "]" * 200], ids=range(4)
)
def test_values_that_json_does_not_support_affect_only_their_result(number: str, tmp_path: Path) -> None:
    report = f'[{{"name": "a", "status": "passed", "failure": {{"extra": {number}}}}}]'

    _, results = convert_text(report, tmp_path)

    assert [result["name"] for result in results] == ["a"]


@pytest.mark.parametrize(
    "report",
    [
        '{"suites": [], "config": {}}',
        '{"config": {"name": "odd"}, "suites": []}',
        '{"testResults": []}',
        '{"protocolVersion": "0.1.1", "type": "start"}\n{"type": "done"}',
        "{}",
        '{"hello": "world"}',
    ],
)
def test_json_of_other_tools_is_unsupported(report: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "unsupported_format"
    assert not str(error.value).startswith("unsupported")


@pytest.mark.parametrize(
    "report",
    [
        '{"results": [{"name": "a", "status": "passed"}]',
        '{"results": []} {"results": []}',
        '[{"name": "a", "status": "passed"}] x',
        '[{"name": "a" "status": "passed"}]',
        '[{"name": "a", "status": "passed"},]',
        '{"name": "a", "status": "passed"}\n{"name": "b", "sta',
        "[" * 100_000,
        '{"results": [{"name": "\\ud8',
        '{1: 2}',
    ],
)  # fmt: skip
def test_malformed_json_is_rejected_completely(report: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
    assert not (tmp_path / "results").exists()
