"""The comment of a project starts with what is missing, and is never longer than the limit of GitHub."""

from typing import Any

import pytest

from service.client.changes import RunChanges
from service.client.checkout import RepositoryPaths
from service.client.comment_texts import join_sections, write_comments
from service.client.http import ConsoleLinks
from service.client.markdown import Links
from service.client.pipelines import MissingProject
from service.client.selections import AbsentJobs
from tests.client.changed_runs import changed, run_changes

COUNTS = {"passed": 5, "failed": 1, "error": 0, "skipped": 0, "canceled": 0, "flaky": 0}
LINKS = Links(ConsoleLinks("https://r.example"), RepositoryPaths())


def text_of(*changes: RunChanges) -> str:
    [comment] = write_comments(changes, [], LINKS, AbsentJobs())
    return join_sections([comment], comment.marker, 65_536)


def of_run(*results: Any, **run: Any) -> RunChanges:
    changes = run_changes(*results)
    changes.run.update(run)
    return changes


@pytest.mark.parametrize("runs", [1, 2])
def test_comment_is_shorter_than_the_limit_of_github(runs: int) -> None:
    changes = run_changes(*(changed(f"{number}" + "ü" * 300, suite="x" * 300) for number in range(500)))
    text = text_of(*[changes] * runs)
    assert 60_000 // runs < len(text) <= 65_000
    assert text.splitlines()[2] == "### `shop`: 500 new failures"


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        (run_changes(changed()), "1 new failure"),
        (run_changes(changed(change="known_failure")), "no new failures"),
        (run_changes(), "no failures"),
        (run_changes(changed(), baseline=None), "1 failure, not compared"),
        (run_changes(baseline=None), "no failures"),
        (of_run(changed(change="known_failure"), status="error", counts=COUNTS | {"error": 1}), "no new failures"),
    ],
)
def test_title_states_the_number_of_new_failures(changes: RunChanges, title: str) -> None:
    assert text_of(changes).splitlines()[2] == f"### `shop`: {title}"


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        (of_run(changed(change="known_failure"), status="error"), "(error): no new failures"),
        (of_run(changed(change="known_failure"), status="canceled"), "(canceled): no new failures"),
        (of_run(changed(), status="error", failures_missing=True), "(error): 1 new failure"),
        (of_run(status="failed"), "(failed): no new failures"),
    ],
)
def test_title_states_the_status_that_no_result_explains(changes: RunChanges, title: str) -> None:
    assert text_of(changes).splitlines()[2] == f"### `shop` {title}"


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        (run_changes(), False),
        (run_changes(changed()), True),
        (run_changes(changed(), baseline=None), True),
        (run_changes(changed(change="known_failure"), changed("b", "flaky_failure")), False),
        (run_changes(changed(change="quarantined")), False),
        (run_changes(changed(change="known_failure"), changed("b")), True),
        (of_run(status="error"), True),
        (of_run(changed(change="known_failure"), status="error"), True),
        (of_run(changed(change="known_failure"), status="error", counts=COUNTS | {"error": 1}), False),
        (of_run(changed(change="known_failure"), counts=COUNTS | {"canceled": 1}), True),
        (of_run(changed(change="known_failure"), failures_missing=True), True),
        (of_run(changed(change="known_failure"), status="canceled"), True),
    ],
)
def test_comment_is_needed_only_if_something_is_new(changes: RunChanges, needed: bool) -> None:
    assert write_comments([changes], [], LINKS, AbsentJobs())[0].is_needed == needed


def test_comment_is_needed_for_what_is_missing_without_permission() -> None:
    part: dict[str, Any] = {"part": "unit", "variant": {}, "shard": None}
    lacking = run_changes()
    lacking.comparison["missing_parts"] = [part]
    lacking.run["parts"] = []
    needed = [
        write_comments([lacking], [], LINKS, absent)[0].is_needed
        for absent in (AbsentJobs(), AbsentJobs(canceled=["unit"]), AbsentJobs(["un*"]))
    ]
    assert needed == [True, True, False]
    absent = write_comments([], [MissingProject("api", False), MissingProject("web", True)], LINKS, AbsentJobs())
    assert [comment.is_needed for comment in absent] == [True, False]
