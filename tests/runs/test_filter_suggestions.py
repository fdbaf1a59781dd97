"""Suggestions for the filters of the list of runs: newest first, bounded, and only of runs that the caller can read."""

from typing import Any

import pytest

from service.database.statements import MAX_READ_RUNS, compose
from service.identity.keys.model import Caller
from service.runs.model import FilterSuggestions, PullRequestSuggestion
from service.runs.operations import suggest_filters
from tests.run_events import run_event
from tests.served import Api


def run(number: int, project_id: str = "shop", organization: str = "acme", **fields: Any) -> Any:
    completed_at = f"2026-05-20T{number // 60:02}:{number % 60:02}:00Z"
    return run_event(
        f"{project_id} {number}", project_id=project_id, organization=organization, completed_at=completed_at, **fields
    )


async def suggest(api: Api, project_id: str | None, bound_to: str | None = None) -> FilterSuggestions:
    caller = Caller(api.org_id, "key_1", "viewer", bound_to)
    return await suggest_filters(api.resources.list_pool, caller, project_id)


async def test_suggestions_are_the_values_of_the_newest_runs(api: Api) -> None:
    await api.make_organization("other")
    await api.store.ingest(
        run(1, author="Ada", pull_request="7", title="First title"),
        run(2, author="Bob", pull_request="8"),
        run(3, author="Ada", pull_request="7", title="Later title"),
        run(4, author="Ada", pull_request="7"),
        run(5, title="On the main branch"),
        run(6, project_id="blog", author="Eve", pull_request="9"),
    )
    await api.store.ingest(run(9, organization="other", author="Mallory", pull_request="66"))
    seven, eight = PullRequestSuggestion("7", "Later title"), PullRequestSuggestion("8", None)
    of_shop = FilterSuggestions(["Ada", "Bob"], [seven, eight])
    assert await suggest(api, "shop") == of_shop
    assert await suggest(api, "shop", bound_to="shop") == of_shop
    assert await suggest(api, None, bound_to="shop") == of_shop
    assert await suggest(api, "blog", bound_to="shop") == FilterSuggestions((), ())
    assert await suggest(api, None) == FilterSuggestions(
        ["Eve", "Ada", "Bob"], [PullRequestSuggestion("9", None), seven, eight]
    )
    assert await suggest(api, "none") == FilterSuggestions([], [])


async def test_number_of_suggestions_is_limited(api: Api) -> None:
    await api.store.ingest(*(run(n, author=f"author {n}", pull_request=str(n)) for n in range(25)))
    found = await suggest(api, "shop")
    assert found.authors == [f"author {n}" for n in range(24, 4, -1)]
    assert [number for number, _ in found.pull_requests] == [str(n) for n in range(24, 4, -1)]


@pytest.mark.parametrize("owner", ["organization", "project"])
def test_number_of_examined_runs_is_limited(owner: str) -> None:
    statement = compose(f"filter_suggestions_of_{owner}").text
    assert f"ORDER BY run_key DESC LIMIT {MAX_READ_RUNS}" in statement
