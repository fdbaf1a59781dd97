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


def test_attempts_without_a_history_id_have_the_same_test_case_and_parameters(tmp_path: Path) -> None:
    def execution(number: int, value: str, **fields: Any) -> dict[str, Any]:
        parameters = [{"name": "n", "value": value}, {"name": "build", "value": str(number), "excluded": True}]
        return attempt(number, "passed", **{"historyId": None, "testCaseId": "t", "parameters": parameters, **fields})

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


@pytest.mark.parametrize("status", [None, "passed", "skipped"])
def test_fixture_that_states_no_failure_is_no_result(status: str | None, tmp_path: Path) -> None:
    assert outcomes(read(tmp_path, result(), container("u1", afters=[fixture(status)]))) == [("adds", "passed")]


@pytest.mark.parametrize("children", [[], ["missing"]])
def test_failed_fixture_without_tests_is_a_result(children: list[str], tmp_path: Path) -> None:
    run = read(tmp_path, result(), container(*children, befores=[fixture()]))

    assert outcomes(run) == [("adds", "passed"), ("database", "error")]


def test_failed_fixture_does_not_separate_the_attempts_of_a_test(tmp_path: Path) -> None:
    run = read(tmp_path, attempt(1, "passed"), attempt(2, "passed"), container("u1", afters=[fixture()]))

    assert [(case.name, case.attempt_count) for case in run.cases] == [("database", 1), ("adds", 2)]


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
