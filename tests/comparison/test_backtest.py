"""GET /v1/projects/{project_id}/backtest: the failures of stored pull requests, judged by two versions of the rules."""

from typing import Any

import pydantic
import pytest

from service.comparison import backtest
from service.comparison.contract import Backtest
from tests.comparison.stored_pull_requests import store_history
from tests.served import Api

MODEL = pydantic.TypeAdapter(Backtest)
PATH = "/v1/projects/shop/backtest"


async def test_pages_and_slow_pages_have_the_same_runs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await store_history(api)
    complete = (await api.get(PATH))["data"]
    assert sorted((run["run_id"], run["is_last"], run["compared"]) for run in complete) == [
        ("elsewhere", True, False), ("pr_1_1", False, True), ("pr_1_2", True, True), ("pr_2_1", True, True),
    ]  # fmt: skip
    assert await pages(api, {"limit": "1"}) == complete
    monkeypatch.setattr(backtest, "MAX_PAGE_S", 0)
    assert await pages(api, {}) == complete


async def pages(api: Api, params: dict[str, str]) -> list[Any]:
    runs: list[Any] = []
    cursor: dict[str, str] = {}
    progress = 0.0
    while True:
        page = await api.get(PATH, params | cursor)
        MODEL.validate_python(page)
        assert progress <= page["progress"] <= 1
        runs += page["data"]
        progress = page["progress"]
        if not page["has_more"]:
            return runs
        cursor = {"starting_after": page["next_cursor"]}


async def test_other_projects_and_organizations_see_nothing(api: Api) -> None:
    await store_history(api)
    _, other_key = await api.make_organization("other")
    bound = await api.make_key("viewer", project_id="blog")
    for key in (other_key, bound.key):
        assert (await api.send("GET", PATH, key=key)).status == 404
    assert (await api.send("GET", PATH, {"starting_after": "x"})).status == 400
