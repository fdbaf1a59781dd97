"""The comment of a project starts with what is missing, and is never longer than the limit of GitHub."""

from typing import Any

import pytest

from service.client.changes import RunChanges
from service.client.comment_texts import write_comments
from service.client.links import ConsoleLinks
from service.client.markdown import Links
from service.client.pipelines import MissingProject
from service.client.repository_paths import RepositoryPaths
from tests.client.changed_runs import changed, run_changes

LINKS = Links(ConsoleLinks("https://r.example"), RepositoryPaths())


def text_of(*changes: RunChanges) -> str:
    [comment] = write_comments(changes, [], LINKS, ())
    return comment.text


@pytest.mark.parametrize("runs", [1, 2])
def test_comment_is_shorter_than_the_limit_of_github(runs: int) -> None:
    changes = run_changes(*(changed(f"{number}" + "ü" * 300, suite="x" * 300) for number in range(500)))
    text = text_of(*[changes] * runs)
    assert 60_000 // runs < len(text) <= 65_000
    assert text.startswith("<!-- zof-results: shop -->\n### `shop`: 500 new failures\n")


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        (run_changes(changed()), "1 new failure"),
        (run_changes(changed(change="known_failure")), "no new failures"),
        (run_changes(), "no failures"),
        (run_changes(changed(), baseline=None), "1 failure, not compared"),
        (run_changes(baseline=None), "no failures"),
    ],
)
def test_title_states_the_number_of_new_failures(changes: RunChanges, title: str) -> None:
    assert text_of(changes).splitlines()[1] == f"### `shop`: {title}"


def test_comment_is_needed_only_for_failures_and_for_what_is_missing_without_permission() -> None:
    part: dict[str, Any] = {"part": "unit", "variant": {}, "shard": None}
    lacking = run_changes()
    lacking.comparison["missing_parts"] = [part]
    lacking.run["parts"] = []
    needed = [
        write_comments([changes], [], LINKS, allowed)[0].is_needed
        for changes, allowed in [(run_changes(), ()), (run_changes(changed()), ()), (lacking, ()), (lacking, ["un*"])]
    ]
    assert needed == [False, True, True, False]
    absent = write_comments([], [MissingProject("api", False), MissingProject("web", True)], LINKS, ())
    assert [comment.is_needed for comment in absent] == [True, False]
