"""The rows of the list of runs: which failures are news, and the runs of a pull request."""

from typing import Any

import pytest

from service.gates.model import DecisionSummary, FailureCounts
from service.runs.model import RunRow
from service.runs.pages import ListedRun, RunGroup, group_runs
from tests.console.rows import run_row

REPOSITORY = "https://github.example.com/acme/shop"


def decision(*failures: int, missing_parts: int | None = 0, has_baseline: bool = True) -> DecisionSummary:
    counts = FailureCounts(*failures)
    return DecisionSummary("dec_1", "blocked", "release", 1, counts, missing_parts, has_baseline)


def run_ids(groups: list[RunGroup]) -> list[list[str]]:
    return [[item.run.run_id for item in group.runs] for group in groups]


@pytest.mark.parametrize("failures", [(0, 2, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 1, 1, 1)])
def test_failures_of_earlier_runs_are_no_news(failures: tuple[int, ...]) -> None:
    for status in ("failed", "error"):
        assert ListedRun(run_row(status=status), decision(*failures)).has_only_known_failures


@pytest.mark.parametrize(
    ("run", "decided"),
    [
        (run_row(status="failed"), None),
        (run_row(status="failed"), decision(1, 5, 0, 0)),
        (run_row(status="failed"), decision(0, 1, 0, 0, has_baseline=False)),
        (run_row(status="failed"), decision(0, 1, 0, 0, missing_parts=1)),
        (run_row(status="failed"), decision(0, 1, 0, 0, missing_parts=None)),
        (run_row(status="failed", failures_missing=True), decision(0, 1, 0, 0)),
        (run_row(status="failed", complete=False), decision(0, 1, 0, 0)),
        (run_row(status="passed"), decision(0, 0, 0, 0)),
        (run_row(status="canceled"), decision(0, 1, 0, 0)),
    ],
)
def test_new_failures_unknown_comparisons_and_missing_parts_are_news(
    run: RunRow, decided: DecisionSummary | None
) -> None:
    assert not ListedRun(run, decided).has_only_known_failures


def test_runs_of_a_pull_request_are_below_the_newest_of_them() -> None:
    numbers = {5: "7", 4: None, 3: "7", 2: "8", 1: None}
    groups = group_runs([run_row(number, pull_request=pull) for number, pull in numbers.items()], {})
    assert run_ids(groups) == [["run_5", "run_3"], ["run_4"], ["run_2"], ["run_1"]]


def test_repository_or_project_distinguishes_pull_requests_with_the_same_number() -> None:
    def pull(number: int, **fields: Any) -> RunRow:
        return run_row(number, pull_request="7", **fields)

    runs = [
        pull(6, project_id="shop", repository_url=REPOSITORY),
        pull(5, project_id="blog", repository_url=REPOSITORY),
        pull(4, project_id="blog", repository_url=f"{REPOSITORY}2"),
        pull(3, project_id="shop"),
        pull(2, project_id="blog"),
        pull(1, project_id="shop", repository_url=REPOSITORY),
    ]
    groups = group_runs(runs, {})
    assert run_ids(groups) == [["run_6", "run_5", "run_1"], ["run_4"], ["run_3"], ["run_2"]]
    assert [item.run.run_id for item in groups[0].newest_of_projects] == ["run_6", "run_5"]


def test_group_has_the_newest_known_title_and_author() -> None:
    texts: tuple[dict[str, str], ...] = ({}, {"title": "New"}, {"title": "Old", "author": "Ada"})
    runs = [run_row(number, pull_request="7", **fields) for number, fields in zip((3, 2, 1), texts, strict=True)]
    [group] = group_runs(runs, {runs[1].run_key: decision(0, 0, 0, 0)})
    assert (group.title, group.author) == ("New", "Ada")
    assert (group.newest.decision, group.runs[1].decision) == (None, decision(0, 0, 0, 0))
    assert group_runs([run_row()], {})[0].title is None
