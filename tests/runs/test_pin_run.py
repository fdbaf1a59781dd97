"""Pins of runs over HTTP."""

from typing import Any

import pytest

from tests.run_events import run_event
from tests.served import Api


@pytest.fixture
async def stored(api: Api) -> Api:
    await api.store.ingest(run_event("run_1"), run_event("run_2"))
    return api


async def pinned(api: Api) -> dict[str, bool]:
    return {run["run_id"]: run["pinned"] for run in (await api.get("/v1/runs"))["data"]}


async def test_run_is_pinned_and_unpinned_by_repeatable_requests(stored: Api) -> None:
    assert await pinned(stored) == {"run_1": False, "run_2": False}
    for method, expected in (("PUT", True), ("PUT", True), ("DELETE", False), ("DELETE", False)):
        assert (await stored.send(method, "/v1/runs/run_1/pin")).status == 204
        assert await pinned(stored) == {"run_1": expected, "run_2": False}
        assert (await stored.get("/v1/runs/run_1"))["pinned"] is expected


async def test_later_event_of_a_pinned_run_keeps_the_pin(stored: Api) -> None:
    await stored.send("PUT", "/v1/runs/run_1/pin")
    await stored.store.ingest(run_event("run_1", branch="next"))
    run: Any = await stored.get("/v1/runs/run_1")
    assert (run["branch"], run["pinned"]) == ("next", True)


async def test_only_an_admin_of_the_organization_and_project_can_pin_a_run(stored: Api) -> None:
    engineer = (await stored.make_key("engineer")).key
    _, other_key = await stored.make_organization("other")
    bound = (await stored.make_key("admin", project_id="blog")).key
    for method in ("PUT", "DELETE"):
        assert (await stored.send(method, "/v1/runs/run_1/pin", key=engineer)).status == 403
        for key in (other_key, bound):
            assert (await stored.send(method, "/v1/runs/run_1/pin", key=key)).status == 404
        assert (await stored.send(method, "/v1/runs/absent/pin")).status == 404
    assert not any((await pinned(stored)).values())
