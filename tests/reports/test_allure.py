"""Retries, statuses, texts, and fixtures of Allure results, and values of wrong types."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.reports.allure_documents import (
    FAILURE,
    START,
    attempt,
    container,
    fixture,
    labels_of,
    outcomes,
    read,
    read_one,
    result,
    upload,
)
from tests.reports.conversions import convert_text
from tests.reports.tools.reading import ReadCase, read_run

# Retries


def test_attempts_are_in_the_order_of_their_starts(tmp_path: Path) -> None:
    documents = [attempt(3, "passed"), attempt(1, "failed", statusDetails=FAILURE), attempt(2, "broken")]

    (case,) = read(tmp_path, *documents).cases

    assert (case.status, case.flaky, [each.status for each in case.attempts]) == (
        "passed", True, ["failed", "error", "passed"],
    )  # fmt: skip
    assert case.attempts[0].message == "no stock"


def test_last_attempt_decides(tmp_path: Path) -> None:
    (case,) = read(tmp_path, attempt(2, "failed", statusDetails=FAILURE), attempt(1, "passed")).cases

    assert (case.status, case.summary) == ("failed", "no stock")


@pytest.mark.parametrize(
    ("framework", "fields"),
    [
        ("pytest", {"fullName": "tests.test_cart#adds", "name": "adds"}),
        (
            "pytest",
            {"fullName": "tests.test_cart#adds", "name": "adds[1]", "parameters": [{"name": "n", "value": "1"}]},
        ),
        (
            "pytest",
            {"fullName": "tests.test_cart#adds", "name": "adds", "parameters": [{"name": "build", "value": "7"}]},
        ),
        ("pytest", {"fullName": "tests.test_cart#adds", "name": "A title"}),
        ("Playwright", {}),
        ("junit-platform", {}),
        ("junit4", {"fullName": "shop.CartTest.adds"}),
    ],
)
def test_executions_in_a_framework_with_unique_names_are_attempts(
    framework: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    documents = [
        attempt(number, status, **{"parameters": [], "labels": labels_of(framework), **fields})
        for number, status in ((1, "failed"), (2, "passed"))
    ]

    run = read(tmp_path, *documents)

    assert [(case.status, case.flaky, case.attempt_count) for case in run.cases] == [("passed", True, 2)]
    assert run.problems == ()


@pytest.mark.parametrize(
    ("framework", "fields"),
    [
        *((framework, {}) for framework in ("behave", "robotframework", "testng", "jest", "cucumberjs", "unknown")),
        ("junit4", {"fullName": "shop.CartTest.adds[7]"}),
        (
            "pytest",
            {"fullName": "tests.test_cart#adds", "name": "A title", "parameters": [{"name": "n", "value": "1"}]},
        ),
        ("cypress", {"parameters": [{"name": "Retry", "value": "2", "excluded": True}]}),
        ("mocha", {"parameters": [{"name": "Retry", "value": "1"}]}),
    ],
)
def test_executions_without_a_retry_are_occurrences_and_the_receipt_notes_them(
    framework: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    documents = [
        attempt(number, status, **{"parameters": [], "labels": labels_of(framework), **fields})
        for number, status in ((1, "failed"), (2, "passed"), (3, "failed"), (4, "passed"))
    ]

    run = read(tmp_path, *documents)

    assert [(case.occurrence, case.status, case.attempt_count) for case in run.cases] == [
        (0, "failed", 1), (1, "passed", 1), (2, "failed", 1), (3, "passed", 1),
    ]  # fmt: skip
    assert run.problems == (
        "historyId: results that repeat the historyId and the name of another one, but state no retry: 3. "
        "They are stored as further occurrences.",
    )


def test_names_that_share_a_history_are_different_cases(tmp_path: Path) -> None:
    """pytest computes the history of `parametrize("x", [1, 1], ids=["mac", "linux"])` from the values."""
    documents = [
        attempt(number, status, name=f"adds[{name}]", fullName="tests.test_cart#adds", labels=labels_of("pytest"))
        for number, (name, status) in enumerate(
            [("mac", "failed"), ("linux", "failed"), ("mac", "failed"), ("linux", "passed")], 1
        )
    ]

    run = read(tmp_path, *documents)

    assert [(case.name, case.status, [each.status for each in case.attempts]) for case in run.cases] == [
        ("adds[mac]", "failed", ["failed", "failed"]),
        ("adds[linux]", "passed", ["failed", "passed"]),
    ]


def test_retries_of_two_tests_with_one_name_belong_to_the_execution_before_them(tmp_path: Path) -> None:
    retry = [{"name": "Retry", "value": "1", "excluded": True}]
    documents = [
        attempt(1, "failed"), attempt(2, "passed"),
        attempt(3, "failed", parameters=[]), attempt(4, "failed", parameters=retry),
        attempt(5, "passed", parameters=retry),
    ]  # fmt: skip

    run = read(tmp_path, *documents)

    assert [(case.occurrence, [each.status for each in case.attempts] or [case.status]) for case in run.cases] == [
        (0, ["failed", "passed"]), (1, ["failed", "failed"]), (2, ["passed"]),
    ]  # fmt: skip


def test_attempts_without_a_history_id_have_the_same_test_case_and_parameters(tmp_path: Path) -> None:
    def execution(number: int, value: str, **fields: Any) -> dict[str, Any]:
        parameters = [{"name": "n", "value": value}, {"name": "build", "value": str(number), "excluded": True}]
        known = {"historyId": None, "testCaseId": "t", "parameters": parameters, "labels": labels_of("junit-platform")}
        return attempt(number, "passed", **{**known, **fields})

    run = read(tmp_path, execution(1, "7"), execution(2, "7"), execution(3, "8"), execution(4, "7", testCaseId=None))

    assert [(case.name, case.occurrence, case.attempt_count) for case in run.cases] == [
        ("adds[n=7]", 0, 2), ("adds[n=8]", 0, 1), ("adds[n=7]", 1, 1),
    ]  # fmt: skip


def test_repeated_names_with_different_histories_are_occurrences(tmp_path: Path) -> None:
    run = read(tmp_path, result("u2", start=START + 2, status="failed"), result("u1", start=START + 1))

    assert [(case.name, case.occurrence, case.status) for case in run.cases] == [
        ("adds", 0, "passed"), ("adds", 1, "failed"),
    ]  # fmt: skip


def test_order_of_the_files_changes_nothing(tmp_path: Path) -> None:
    documents = [
        *(attempt(number, "failed" if number < 3 else "passed") for number in range(1, 4)),
        *(container(f"u{number}", befores=[fixture("passed", attachments=[{"source": f"{number}.png"}])])
          for number in range(1, 4)),
        result("v1"), result("v2", status="failed"), container("v1", "v2", afters=[fixture()]),
    ]  # fmt: skip

    def cases(seed: int) -> tuple[ReadCase, ...]:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return read(folder, *random.Random(seed).sample(documents, len(documents))).cases

    first, *others = [cases(seed) for seed in range(6)]
    assert len(first) == 4
    assert others == [first] * 5


# Statuses, texts, and files


@pytest.mark.parametrize(
    ("word", "status", "summary"),
    [
        ("passed", "passed", None),
        ("broken", "error", None),
        ("skipped", "skipped", None),
        ("unknown", "error", "unknown status 'unknown'"),
        (None, "error", "unknown status: the status is missing"),
        (10**40, "error", "unknown status: the status is missing"),
    ],
)
def test_statuses(word: Any, status: str, summary: str | None, tmp_path: Path) -> None:
    run = read(tmp_path, result(status=word), result("u2", name="b"))

    assert (run.cases[0].status, run.cases[0].summary) == (status, summary)
    assert [problem.partition(":")[0] for problem in run.problems] == (["9-result.json"] if summary else [])


def test_flags_are_properties(tmp_path: Path) -> None:
    details = {"flaky": True, "muted": True, "known": False, "message": "no stock"}

    converted = read_one(tmp_path, result(status="failed", statusDetails=details))

    assert (converted["properties"], converted["status"]) == ({"flaky": "true", "muted": "true"}, "failed")


def test_files_of_steps_are_referred_to(tmp_path: Path) -> None:
    page = {"name": "page", "source": "a-attachment.png", "type": "image/png"}
    steps = [{"name": "a", "steps": [{"name": "b", "attachments": [{"name": "log", "source": "b-attachment.txt"}]}]}]

    converted = read_one(tmp_path, result(attachments=[page, {"name": "no file"}], steps=steps))

    assert converted["artifacts"] == [
        {"kind": "screenshot", "name": "page.png", "uri": "a-attachment.png", "content_type": "image/png"},
        {"kind": "log", "name": "log.txt", "uri": "b-attachment.txt"},
    ]


@pytest.mark.parametrize(
    ("fields", "started", "duration_ms", "notes"),
    [
        ({}, True, 5, 0),
        ({"stop": None}, True, None, 0),
        ({"start": None}, False, None, 0),
        ({"start": "yesterday", "stop": True}, False, None, 0),
        ({"stop": START - 1}, True, None, 1),
    ],
)
def test_times(fields: dict[str, Any], started: bool, duration_ms: float | None, notes: int, tmp_path: Path) -> None:
    summary, (converted,) = convert_text(json.dumps(result(**fields)), tmp_path)

    assert ("started_at" in converted, converted.get("duration_ms"), len(summary.notes)) == (
        started,
        duration_ms,
        notes,
    )


@pytest.mark.parametrize(
    "key", ["name", "statusDetails", "steps", "attachments", "parameters", "labels", "links", "titlePath", "fullName"]
)
@pytest.mark.parametrize("value", [None, 7, True, "text", [7, None, "a", []], {"a": {}}], ids=str)
def test_values_of_wrong_types_count_as_missing(key: str, value: Any, tmp_path: Path) -> None:
    converted = read_one(tmp_path, result(**{"status": "failed", key: value}))

    assert converted["status"] == "failed"
    assert isinstance(converted["name"], str)


# Fixtures and errors of the run


def test_failed_fixture_without_a_failing_test_is_a_result_of_its_suite(tmp_path: Path) -> None:
    run = read(tmp_path, result(), result("u2", status="skipped", name="b"), container("u1", "u2", befores=[fixture()]))

    assert [(case.suite, case.name, case.status, case.message) for case in run.cases[2:]] == [
        ("shop.CartTest", "database", "error", "no stock")
    ]


def test_failed_fixture_of_an_only_test_is_a_result(tmp_path: Path) -> None:
    run = read(tmp_path, result(), container("u1", afters=[fixture("failed", name=None)]))

    assert outcomes(run) == [("(suite)", "failed"), ("adds", "passed")]


def test_failed_fixture_of_a_failing_test_is_in_its_steps(tmp_path: Path) -> None:
    fixtures = container("u1", befores=[fixture("passed")], afters=[fixture()])

    run = read(tmp_path, result(status="failed", statusDetails={"message": "wrong sum"}), fixtures)

    assert outcomes(run) == [("adds", "failed")]
    assert run.cases[0].output == {"steps.txt": "broken: database\n  no stock"}


@pytest.mark.parametrize(("message", "expected"), [("no stock", 2), ("wrong sum", 3)])
def test_failed_fixture_of_several_tests_is_a_result_unless_a_test_states_it(
    message: str, expected: int, tmp_path: Path
) -> None:
    failed = result("u2", name="b", status="failed", statusDetails={"message": message})

    run = read(tmp_path, result(), failed, container("u1", "u2", afters=[fixture()]))

    assert len(run.cases) == expected


def test_test_outside_of_a_fixture_does_not_state_its_failure(tmp_path: Path) -> None:
    failed = result("u2", name="b", status="failed", statusDetails={"message": "wrong sum"})
    other = result("u3", name="c", status="failed", statusDetails=FAILURE)

    run = read(tmp_path, result(), failed, other, container("u1", "u2", afters=[fixture()]))

    assert ("database", "error") in outcomes(run)


@pytest.mark.parametrize("status", [None, "passed", "skipped"])
def test_fixture_that_states_no_failure_is_no_result(status: str | None, tmp_path: Path) -> None:
    assert outcomes(read(tmp_path, result(), container("u1", afters=[fixture(status)]))) == [("adds", "passed")]


@pytest.mark.parametrize("children", [[], ["missing"]])
def test_failed_fixture_without_tests_is_a_result(children: list[str], tmp_path: Path) -> None:
    run = read(tmp_path, result(), container(*children, befores=[fixture()]))

    assert outcomes(run) == [("adds", "passed"), ("database", "error")]


def test_failed_fixture_of_an_earlier_attempt_is_an_attempt(tmp_path: Path) -> None:
    run = read(tmp_path, attempt(1, "passed"), attempt(2, "passed"), container("u1", afters=[fixture()]))

    (case,) = run.cases
    assert (case.name, case.status, case.flaky) == ("adds", "passed", True)
    assert [(each.status, each.message) for each in case.attempts] == [
        ("passed", None), ("error", "no stock"), ("passed", None),
    ]  # fmt: skip


def test_failed_fixture_whose_tests_all_have_later_attempts_is_an_attempt(tmp_path: Path) -> None:
    documents = [
        *(attempt(number, "passed") for number in (1, 2)),
        *({**attempt(number, "passed", name="b", historyId="b"), "uuid": f"v{number}"} for number in (1, 2)),
    ]

    run = read(tmp_path, *documents, container("u1", "v1", afters=[fixture()]), container("u2", "v2"))

    assert [(case.name, [each.status for each in case.attempts]) for case in run.cases] == [
        ("b", ["passed", "passed"]), ("adds", ["passed", "error", "passed"]),
    ]  # fmt: skip


def test_failed_fixtures_of_an_unlimited_number_of_tests_are_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.reports.formats.allure.reader._MAX_CHILDREN", 1)
    fixtures = container("u1", "other", afters=[fixture()])

    run = read(tmp_path, attempt(1, "passed"), attempt(2, "passed"), fixtures)

    assert outcomes(run) == [("adds", "passed"), ("database", "error")]


@pytest.mark.parametrize(
    ("executions", "cases"),
    [
        (["broken", "passed"], [("b", "passed"), ("adds", "passed")]),
        (["broken"], [("b", "passed"), ("adds", "passed"), ("database", "error")]),
        (["passed", "broken"], [("b", "passed"), ("adds", "passed"), ("database", "error")]),
    ],
)
def test_failed_fixture_that_passes_for_the_next_attempt_is_stated_by_the_earlier_one(
    executions: list[str], cases: list[tuple[str, str]], tmp_path: Path
) -> None:
    """pytest-rerunfailures executes a fixture of the module again."""
    documents = [attempt(1, "broken", statusDetails=FAILURE), attempt(2, "passed"), result("v1", name="b")]
    fixtures = container("u1", "u2", "v1", befores=[fixture(status) for status in executions])

    assert outcomes(read(tmp_path, *documents, fixtures)) == cases


@pytest.mark.parametrize("children", [("u2",), ("u1", "u2"), ("u2", "v1"), ("u1", "v1")])
def test_failed_fixture_of_a_last_attempt_is_a_result(children: tuple[str, ...], tmp_path: Path) -> None:
    documents = [attempt(1, "passed"), attempt(2, "passed"), result("v1", name="b")]

    run = read(tmp_path, *documents, container(*children, afters=[fixture()]))

    assert {(case.name, case.status) for case in run.cases} == {
        ("adds", "passed"), ("b", "passed"), ("database", "error"),
    }  # fmt: skip


def test_failure_of_an_earlier_attempt_states_no_other_failure(tmp_path: Path) -> None:
    """Both failures would otherwise disappear, because the test that has their message passed in its last attempt."""
    documents = [attempt(1, "failed", statusDetails=FAILURE), attempt(2, "passed"), result("v1", name="b")]
    errors = {"attachments": [], "errors": [{**FAILURE, "timestamp": START}]}

    run = read(tmp_path, *documents, container("u1", "v1", afters=[fixture()]))
    other = tmp_path / "errors"
    other.mkdir()

    assert outcomes(run) == [("b", "passed"), ("adds", "passed"), ("database", "error")]
    assert outcomes(read(other, *documents, errors))[2:] == [("(suite)", "error")]


def test_files_of_fixtures_belong_to_the_only_test_or_to_the_run(tmp_path: Path) -> None:
    files = {
        "a-result.json": result(),
        "b-result.json": result("u2"),
        "a-container.json": container("u1", afters=[fixture("passed", attachments=[{"source": "page.png"}])]),
        "b-container.json": container("u1", "u2", befores=[fixture("passed", attachments=[{"source": "log.txt"}])]),
    }

    read = upload(tmp_path, {name: json.dumps(document).encode() for name, document in files.items()})

    (line,) = (tmp_path / "results-0").read_text().splitlines()
    assert [[each["uri"] for each in converted.get("artifacts", ())] for converted in json.loads(line)] == [
        ["page.png"],
        [],
    ]
    assert [artifact["uri"] for artifact in read.suite_files] == ["log.txt"]


@pytest.mark.parametrize(("trace", "expected"), [("Error: no stock\n  at cart", 1), ("Error: other", 2)])
def test_error_of_the_run_is_a_result_unless_a_test_states_it(trace: str, expected: int, tmp_path: Path) -> None:
    errors = {"attachments": [], "errors": [{"message": "hook failed: no stock", "trace": trace, "timestamp": START}]}

    run = read(tmp_path, result(status="failed", statusDetails=FAILURE), errors)

    assert len(run.cases) == expected
    assert outcomes(run)[1:] == [("(suite)", "error")][: expected - 1]


def test_problem_of_a_case_in_two_reports_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "upload"
    folder.mkdir()
    document = result(status="failed", statusDetails={"message": "m" * 100_000})
    (folder / "1-result.json").write_text(json.dumps(document))
    (folder / "junit.xml").write_text("<testsuite><testcase classname='shop.CartTest' name='adds'/></testsuite>")

    run = read_run(folder)

    assert [case.status for case in run.cases] == ["failed"]
    assert [problem.partition(": ")[0] for problem in run.problems] == ["1-result.json"]
