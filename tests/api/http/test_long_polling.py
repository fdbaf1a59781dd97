"""`?wait=` on a run: woken by the commit that completes it, by one look for all who wait."""

import asyncio
import time
from typing import Any

import pytest

from service.store.queries import runs as read_runs
from tests.api.served import Api, serve
from tests.run_events import result, run_event


async def wait(api: Api, run_id: str, seconds: int, key: str | None = None) -> tuple[int, Any, float]:
    begun = time.monotonic()
    response = await api.send("GET", f"/v1/runs/{run_id}", {"wait": str(seconds)}, key)
    return response.status, await response.json(), time.monotonic() - begun


async def test_a_run_that_comes_later_is_answered_at_once(api: Api) -> None:
    waiting = asyncio.create_task(wait(api, "run_1", 20))
    await asyncio.sleep(0.3)
    await api.store.take(run_event("other"), run_event("run_1"))
    status, run, took_s = await waiting
    assert (status, run["run_id"], run["complete"]) == (200, "run_1", True)
    assert took_s < 5


async def test_an_incomplete_run_is_waited_for_until_its_last_result(api: Api) -> None:
    await api.store.take(run_event("run_1", [result("a")], expected_results=2))
    assert (await wait(api, "run_1", 0))[1]["complete"] is False
    waiting = asyncio.create_task(wait(api, "run_1", 20))
    await asyncio.sleep(0.2)
    await api.store.take(run_event("run_1", [result("b")], expected_results=2))
    status, run, _ = await waiting
    assert (status, run["complete"], run["counts"]["passed"]) == (200, True, 2)


async def test_the_end_of_the_wait_is_the_run_as_it_is_or_none(api: Api) -> None:
    await api.store.take(run_event("run_1", [result("a")], expected_results=2))
    status, run, took_s = await wait(api, "run_1", 1)
    assert (status, run["complete"]) == (200, False)
    assert took_s >= 1
    status, _, took_s = await wait(api, "absent", 1)
    assert status == 404
    assert took_s >= 1


async def test_a_bound_key_learns_nothing_of_another_projects_run(api: Api) -> None:
    await api.store.take(run_event("run_1", project_id="blog"))
    bound = (await api.make_key(project_id="shop")).key
    status, _, took_s = await wait(api, "run_1", 1, bound)
    assert status == 404
    assert took_s >= 1


async def test_a_run_id_that_can_not_exist_harms_nobody_who_waits(api: Api) -> None:
    waiting = asyncio.create_task(wait(api, "run_1", 20))
    await asyncio.sleep(0.1)
    assert (await wait(api, "%00", 5))[0] == 404
    await api.store.take(run_event("run_1"))
    assert (await waiting)[0] == 200


@pytest.mark.parametrize("value", ["31", "-1", "x", "1.5"])
async def test_a_wait_that_is_none_is_refused(api: Api, value: str) -> None:
    assert (await api.error("/v1/runs/run_1", 400, {"wait": value}))["param"] == "wait"


async def test_many_waiters_are_one_look(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    find_complete = read_runs.find_complete

    async def counted(connection: Any, org_id: Any, wanted: Any) -> Any:
        looks.append(len(wanted))
        return await find_complete(connection, org_id, wanted)

    monkeypatch.setattr("service.api.server.resources.find_complete", counted)
    async with serve(database_url, rate_limit="off") as api:
        waiting = [asyncio.create_task(wait(api, f"run_{number % 50}", 25)) for number in range(300)]
        await asyncio.sleep(3)
        before = len(looks)
        await api.store.take(*(run_event(f"run_{number}") for number in range(50)))
        answers = await asyncio.gather(*waiting)
    assert {status for status, _, _ in answers} == {200}
    assert len(looks) - before <= 5
    assert max(looks) == 50


@pytest.mark.parametrize("preference", ["wait=1", 'respond-async, Wait = "1"; x=2', "wait=soon, wait=1"])
async def test_a_wait_may_be_preferred_in_a_header(api: Api, preference: str) -> None:
    begun = time.monotonic()
    await api.get("/v1/runs/absent", status=404, Prefer=preference)
    assert 1 <= time.monotonic() - begun < 5


@pytest.mark.parametrize("preference", ["wait=soon", "wait=-1", "handling=lenient", "", "await=20"])
async def test_a_preference_that_makes_no_sense_is_ignored(api: Api, preference: str) -> None:
    begun = time.monotonic()
    await api.get("/v1/runs/absent", status=404, Prefer=preference)
    assert time.monotonic() - begun < 1


async def test_the_parameter_goes_before_the_preference(api: Api) -> None:
    begun = time.monotonic()
    await api.get("/v1/runs/absent", {"wait": "0"}, status=404, Prefer="wait=20")
    assert time.monotonic() - begun < 1


async def test_a_preference_is_cut_at_what_the_parameter_allows(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.http.long_polling.LONGEST_WAIT_S", 1)
    begun = time.monotonic()
    await api.get("/v1/runs/absent", status=404, Prefer="wait=999999")
    assert 1 <= time.monotonic() - begun < 5
