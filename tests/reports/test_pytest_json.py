"""Conversion of pytest-json-report to results."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_text

NODE_ID = "tests/test_cart.py::TestCart::test_adds"


def report_of(*tests: Any, **members: Any) -> str:
    return json.dumps({"created": 1795967449.5, "duration": 2.5, "exitcode": 0, "tests": list(tests), **members})


def pytest_test_of(outcome: object, **fields: Any) -> dict[str, Any]:
    return {"nodeid": NODE_ID, "lineno": 6, "outcome": outcome, **fields}


def stage_of(outcome: str, message: str | None = None, **fields: Any) -> dict[str, Any]:
    crash = {"crash": {"path": "/ci/a.py", "lineno": 1, "message": message}} if message else {}
    return {"outcome": outcome, "duration": 0.25, **crash, **fields}


@pytest.mark.parametrize(
    ("node_id", "suite", "name", "file"),
    [
        ("tests/test_cart.py::test_adds", "pytest > tests.test_cart", "test_adds", "tests/test_cart.py"),
        ("test_cart.py::test_adds", "pytest > test_cart", "test_adds", "test_cart.py"),
        (NODE_ID, "pytest > tests.test_cart.TestCart", "test_adds", "tests/test_cart.py"),
        ("a.py::test_b[c::d[e]/f.py]", "pytest > a", "test_b[c::d[e]/f.py]", "a.py"),
        ("docs/guide.md::guide.md", "pytest > docs.guide.md", "guide.md", "docs/guide.md"),
        ("/ci/shop/tests/a.py::test_b", "pytest > a", "test_b", "a.py"),
    ],
)
def test_names_and_file_of_a_node_id(node_id: str, suite: str, name: str, file: str, tmp_path: Path) -> None:
    _, (result,) = convert_text(report_of({"nodeid": node_id, "outcome": "passed"}), tmp_path)

    assert (result["suite"], result["name"], result["file"]) == (suite, name, file)


def test_tests_of_other_classes_and_files_have_their_own_names(tmp_path: Path) -> None:
    node_ids = ("a.py::T::test_b", "a.py::T::test_c", "a.py::test_b", "b.py::T::test_b", "a.py::T::test_b[1]")
    _, results = convert_text(report_of(*({"nodeid": each, "outcome": "passed"} for each in node_ids)), tmp_path)

    assert [(result["suite"], result["name"]) for result in results] == [
        ("pytest > a.T", "test_b"), ("pytest > a.T", "test_c"), ("pytest > a", "test_b"), ("pytest > b.T", "test_b"),
        ("pytest > a.T", "test_b[1]"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "call", "status"),
    [
        ("passed", "passed", "passed"), ("failed", "failed", "failed"), ("error", "passed", "error"),
        ("skipped", "skipped", "skipped"), ("xfailed", "skipped", "skipped"), ("xpassed", "passed", "passed"),
        ("subtests passed", "passed", "passed"), ("subtests failed", "passed", "failed"),
        ("passed", "failed", "failed"), ("xpassed", "rerun", "failed"), ("odd", "passed", "error"),
        (None, "passed", "error"), (7, "passed", "error"),
    ],
)  # fmt: skip
def test_status_and_identity_of_outcomes(outcome: object, call: str, status: str, tmp_path: Path) -> None:
    test = pytest_test_of(outcome, setup=stage_of("passed"), call=stage_of(call), teardown=stage_of("passed"))
    summary, (result,) = convert_text(report_of(test), tmp_path)

    assert (result["suite"], result["name"]) == ("pytest > tests.test_cart.TestCart", "test_adds")
    assert (result["status"], result["line"], result["duration_ms"]) == (status, 7, 750)
    assert not summary.failures_missing


@pytest.mark.parametrize("stage", ["setup", "teardown"])
def test_failed_stage_is_an_error_although_the_outcome_states_otherwise(stage: str, tmp_path: Path) -> None:
    test = pytest_test_of("passed", call=stage_of("passed"), **{stage: stage_of("failed", "no database")})
    _, (result,) = convert_text(report_of(test), tmp_path)

    assert (result["status"], result["failure"]) == ("error", {"message": "no database"})


def test_failures_of_the_call_and_the_teardown_are_one_attempt(tmp_path: Path) -> None:
    call = stage_of("failed", "assert 1 == 2", longrepr="E   assert 1 == 2", traceback=[{"message": "AssertionError"}])
    test = pytest_test_of("error", call=call, teardown=stage_of("failed", "still open", longrepr="E   still open"))
    _, (result,) = convert_text(report_of(test), tmp_path)

    assert (result["status"], "attempts" in result) == ("error", False)
    assert result["failure"] == {
        "type": "AssertionError", "message": "assert 1 == 2", "details": "E   assert 1 == 2\n\nE   still open",
    }  # fmt: skip


def test_worker_of_xdist_is_not_part_of_the_texts(tmp_path: Path) -> None:
    worker = "[gw1] linux -- Python 3.11.7 /ci/venv/bin/python3\n\n"
    failed = pytest_test_of("failed", call=stage_of("failed", "a", longrepr=f"{worker}E   a\nb"))
    skipped = pytest_test_of(
        "skipped", setup=stage_of("skipped", longrepr=f"{worker}('/ci/a.py', 3, \"Skipped: it's\")")
    )
    _, results = convert_text(report_of(failed, skipped), tmp_path)

    assert [result["failure"] for result in results] == [
        {"message": "a", "details": "E   a\nb"}, {"type": "pytest.skip", "message": "it's"},
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["('a', 3, 'Skipped: b'", "('a', 3, 'Skipped: ' + open('b'))", "('a', 3, 'b')"])
def test_other_text_of_a_skip_is_kept(text: str, tmp_path: Path) -> None:
    test = pytest_test_of("skipped", setup=stage_of("skipped", longrepr=text))
    _, (result,) = convert_text(report_of(test), tmp_path)

    assert result["failure"] == {"type": "pytest.skip", "message": text}


def test_rerun_that_passed_has_an_earlier_failed_attempt(tmp_path: Path) -> None:
    test = pytest_test_of("rerun", setup=stage_of("passed"), call=stage_of("passed"))
    summary, (result,) = convert_text(report_of(test, exitcode=1), tmp_path)

    assert result["status"] == "passed"
    assert result["attempts"] == [{"status": "failed"}, {"status": "passed", "duration_ms": 500}]
    assert not summary.failures_missing


def test_collectors_that_failed_or_were_skipped_are_results(tmp_path: Path) -> None:
    collectors = [
        {"nodeid": "", "outcome": "passed", "result": []},
        {"nodeid": "tests/test_a.py", "outcome": "failed", "longrepr": "E   ImportError: a\nb"},
        {"nodeid": "tests/test_b.py::TestB", "outcome": "skipped", "longrepr": "('/ci/b.py', 1, 'Skipped: no net')"},
        {"nodeid": "", "outcome": "failed"},
        {"nodeid": "c.py", "outcome": "odd"},
    ]
    summary, results = convert_text(report_of(exitcode=2, collectors=collectors), tmp_path)

    assert [(result["suite"], result["name"], result["status"]) for result in results] == [
        ("pytest", "tests.test_a", "error"), ("pytest > tests.test_b", "TestB", "skipped"),
        ("pytest", "(suite)", "error"), ("pytest", "c", "error"),
    ]  # fmt: skip
    assert results[0]["failure"] == {"details": "E   ImportError: a\nb"}
    assert results[1]["failure"] == {"type": "pytest.skip", "message": "no net"}
    assert not summary.failures_missing


@pytest.mark.parametrize(
    ("members", "missing"),
    [
        ({"exitcode": 0}, False), ({"exitcode": 2}, True), ({"exitcode": 3}, True), ({"exitcode": 5}, False),
        ({"exitcode": "2"}, False), ({"summary": {"failed": 1, "total": 2}}, True), ({"summary": {"error": 1}}, True),
        ({"summary": {"passed": 1, "total": 1}}, False), ({"summary": ["failed"]}, False),
    ],
)  # fmt: skip
def test_report_that_states_a_failure_without_one_misses_it(
    members: dict[str, Any], missing: bool, tmp_path: Path
) -> None:
    summary, _ = convert_text(report_of(pytest_test_of("passed"), **members), tmp_path)

    assert summary.failures_missing == missing
    assert bool(summary.notes) == missing


def _subtests_of(outcome: str, call: str = "passed") -> dict[str, Any]:
    return pytest_test_of(outcome, setup=stage_of("passed"), call=stage_of(call), teardown=stage_of("passed"))


@pytest.mark.parametrize("outcome", ["subtests passed", "subtests skipped", "skipped", "xfailed"])
@pytest.mark.parametrize(
    ("members", "missing"),
    [
        ({"exitcode": 0}, False), ({"exitcode": 5}, False), ({"exitcode": 1}, True), ({"exitcode": None}, True),
        ({"exitcode": "0"}, True), ({"exitcode": 0, "summary": {"failed": 1, "total": 2}}, True),
        ({"exitcode": 0, "summary": {"subtests passed": 1, "total": 1}}, False),
    ],
)  # fmt: skip
def test_last_subtest_can_hide_a_failed_one_unless_exit_code_and_counts_exclude_it(
    outcome: str, members: dict[str, Any], missing: bool, tmp_path: Path
) -> None:
    failed = pytest_test_of("failed", call=stage_of("failed", "assert 1 == 2"))
    summary, _ = convert_text(report_of(failed, _subtests_of(outcome), **members), tmp_path)

    assert summary.failures_missing == missing
    assert any("subtests: 1 tests state only" in note for note in summary.notes) == missing


@pytest.mark.parametrize(
    "test", [_subtests_of("skipped", "skipped"), pytest_test_of("skipped"), _subtests_of("subtests failed")]
)
def test_outcome_of_the_test_itself_hides_no_subtest(test: dict[str, Any], tmp_path: Path) -> None:
    failed = pytest_test_of("failed", call=stage_of("failed", "assert 1 == 2"))
    summary, _ = convert_text(report_of(failed, test, exitcode=1), tmp_path)

    assert not summary.failures_missing


def test_run_ends_when_the_report_was_created(tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(), tmp_path)

    assert str(summary.times[0].started_at) == "2026-11-29 15:50:47+00:00"
    assert str(summary.completed_at) == "2026-11-29 15:50:49.500000+00:00"


def test_user_properties_and_metadata_are_properties(tmp_path: Path) -> None:
    properties = {"user_properties": [{"issue": "SHOP-7"}, {"issue": "SHOP-8"}, 7], "metadata": {"items": [1, "ä"]}}
    _, (result,) = convert_text(report_of(pytest_test_of("passed", **properties)), tmp_path)

    assert result["properties"] == {"issue": "SHOP-7\nSHOP-8", "items": '[1, "ä"]'}


def test_values_of_other_types_are_missing(tmp_path: Path) -> None:
    test = pytest_test_of("failed", lineno=True, setup=7, call=stage_of("failed", longrepr=7, traceback="a", log={}))
    test["call"]["crash"] = [1]
    test["teardown"] = {"outcome": "passed", "duration": "soon"}
    summary, (result,) = convert_text(report_of(test, created="now", duration=None), tmp_path)

    assert result["failure"] == {"message": "The report states the outcome failed, but no failure."}
    assert (result["duration_ms"], "line" in result, summary.times[0].started_at) == (250, False, None)
    assert summary.notes == ("duration: 1 durations are invalid, such as 'soon'. They are stored as unknown.",)


@pytest.mark.parametrize("number", [10**400, -(10**400), 1e300, "1", True], ids=lambda number: str(number)[:6])
@pytest.mark.parametrize("key", ["created", "duration"])
def test_time_of_a_wrong_value_is_unknown(key: str, number: Any, tmp_path: Path) -> None:
    summary, _ = convert_text(report_of(**{"created": 1.5e9, "duration": 1, key: number}), tmp_path)

    assert summary.times[0].started_at is None


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (json.dumps({"created": 1.5, "duration": 1, "exitcode": 0, "summary": {}}), "tests: must be a list. Write"),
        (report_of(7), "tests: must be a list of objects"),
        (report_of(collectors=[7]), "collectors: must be a list of objects"),
        (report_of()[:-1], "invalid JSON"),
        (report_of() + "{}", "unexpected data after the end of the document"),
    ],
)
def test_malformed_report_is_rejected(report: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=message) as error:
        convert_text(report, tmp_path)

    assert error.value.reason == "malformed_report"
