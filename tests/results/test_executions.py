"""The attempts of a result in words, and which files belong to which attempt."""

import pytest

from service.results.rows import Execution, describe_flaky, group_files

RERUN = [Execution(1, "failed", 1), Execution(2, "passed", 2)]
BOTH_FAILED = [Execution(1, "failed", 1), Execution(2, "failed", 2)]
RETRIED = [Execution(1, "failed", None), Execution(2, "passed", None)]
RETRIED_TWICE = [
    Execution(1, "failed", 1),
    Execution(2, "failed", 1),
    Execution(3, "error", 2),
    Execution(4, "passed", 2),
]


@pytest.mark.parametrize(
    ("part", "executions", "text"),
    [
        ("unit", RERUN, "failed in attempt 1 of job unit, passed in attempt 2"),
        (None, RERUN, "failed in attempt 1 of the CI job, passed in attempt 2"),
        ("unit", RETRIED, "failed in attempt 1, passed in attempt 2"),
        ("unit", RETRIED_TWICE, "failed in attempt 1 of job unit, passed in attempt 2"),
        ("unit", BOTH_FAILED, None),
        ("unit", [Execution(1, "passed", 1), Execution(2, "passed", 2)], None),
        ("unit", [Execution(1, "passed", 1)], None),
    ],
)
def test_attempts_of_a_flaky_result_are_described(
    part: str | None, executions: list[Execution], text: str | None
) -> None:
    assert describe_flaky(part, executions) == text


def files(*names: str, kind: str = "log") -> list[dict[str, str]]:
    return [{"name": name, "kind": kind} for name in names]


@pytest.mark.parametrize(
    ("executions", "names", "expected"),
    [
        ([Execution(1, "failed", None)], ["stdout.txt"], {1: ["stdout.txt"]}),
        (RERUN, ["stdout.txt"], {1: ["stdout.txt"]}),
        (BOTH_FAILED, ["stdout.txt", "stdout (attempt 2).txt"], {1: ["stdout.txt"], 2: ["stdout (attempt 2).txt"]}),
        (BOTH_FAILED, ["stdout.txt"], {None: ["stdout.txt"]}),
        (BOTH_FAILED, ["stdout (attempt 3).txt"], {None: ["stdout (attempt 3).txt"]}),
        (RETRIED, ["attempt-1-stdout.txt", "stdout.txt"], {1: ["attempt-1-stdout.txt", "stdout.txt"]}),
        (BOTH_FAILED, ["stdout (attempt 0).txt"], {None: ["stdout (attempt 0).txt"]}),
        (
            RETRIED_TWICE,
            ["attempt-2-stdout.txt", "attempt-1-stdout (attempt 2).txt", "attempt-9-stdout (attempt 2).txt"],
            {
                2: ["attempt-2-stdout.txt"],
                3: ["attempt-1-stdout (attempt 2).txt"],
                None: ["attempt-9-stdout (attempt 2).txt"],
            },
        ),
    ],
)
def test_files_are_attributed_only_if_no_other_attempt_can_have_them(
    executions: list[Execution], names: list[str], expected: dict[int | None, list[str]]
) -> None:
    grouped = group_files(files(*names), executions)
    assert {number: [file["name"] for file in listed] for number, listed in grouped.items()} == expected


def test_other_files_can_be_of_a_passed_attempt() -> None:
    assert list(group_files(files("trace.zip", kind="trace"), RERUN)) == [None]
    assert list(group_files(files("server.log"), RERUN)) == [None]


def test_files_that_a_report_names_are_not_attributed_by_their_names() -> None:
    named = [{**file, "receipt_id": "rcp_1"} for file in files("stdout.txt", "shot (attempt 1).png")]
    assert list(group_files(named, RERUN)) == [None]
    assert list(group_files(named, RERUN[:1])) == [1]
