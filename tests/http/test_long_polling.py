"""Long-polling requests for a run: they return after the commit that completes it, and share one query."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from service.events.store import EVENTS_WRITTEN
from service.runs import store as runs_store
from tests.exporting import exporting
from tests.report_api import PASSING, Reports
from tests.run_events import result, run_event
from tests.served import Api, serve
from tests.statements import record_statements

WAIT_S = 20  # much longer than a request without a wait takes on a busy host


async def wait(api: Api, run_id: str, seconds: int, key: str | None = None) -> tuple[int, Any, float]:
    started = time.monotonic()
    response = await api.send("GET", f"/v1/runs/{run_id}", {"wait": str(seconds)}, key)
    return response.status, await response.json(), time.monotonic() - started


async def test_request_returns_as_soon_as_the_run_is_stored(api: Api) -> None:
    waiting = asyncio.create_task(wait(api, "run_1", 20))
    await asyncio.sleep(0.3)
    await api.store.ingest(run_event("other"), run_event("run_1"))
    status, run, elapsed_s = await waiting
    assert (status, run["run_id"], run["complete"]) == (200, "run_1", True)
    assert elapsed_s < 5


async def test_request_waits_for_the_last_expected_result(api: Api) -> None:
    await api.store.ingest(run_event("run_1", [result("a")], expected_results=2))
    assert (await wait(api, "run_1", 0))[1]["complete"] is False
    waiting = asyncio.create_task(wait(api, "run_1", 20))
    await asyncio.sleep(0.2)
    await api.store.ingest(run_event("run_1", [result("b")], expected_results=2))
    status, run, _ = await waiting
    assert (status, run["complete"], run["counts"]["passed"]) == (200, True, 2)


async def test_expired_wait_returns_the_current_run_or_404(api: Api) -> None:
    await api.store.ingest(run_event("run_1", [result("a")], expected_results=2))
    status, run, elapsed_s = await wait(api, "run_1", 1)
    assert (status, run["complete"]) == (200, False)
    assert elapsed_s >= 1
    status, _, elapsed_s = await wait(api, "absent", 1)
    assert status == 404
    assert elapsed_s >= 1


async def test_key_of_a_project_cannot_wait_for_the_run_of_another(api: Api) -> None:
    await api.store.ingest(run_event("run_1", project_id="blog"))
    bound = (await api.make_key(project_id="shop")).key
    status, _, elapsed_s = await wait(api, "run_1", 1, bound)
    assert status == 404
    assert elapsed_s >= 1


async def test_invalid_run_id_does_not_affect_other_requests(api: Api) -> None:
    waiting = asyncio.create_task(wait(api, "run_1", 20))
    await asyncio.sleep(0.1)
    assert (await wait(api, "%00", 5))[0] == 404
    await api.store.ingest(run_event("run_1"))
    assert (await waiting)[0] == 200


@pytest.mark.parametrize("value", ["31", "-1", "x", "1.5"])
async def test_invalid_wait_returns_400(shared_api: Api, value: str) -> None:
    assert (await shared_api.error("/v1/runs/run_1", 400, {"wait": value}))["param"] == "wait"


@pytest.mark.slow
async def test_many_waiting_requests_share_one_query(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[int] = []
    find_complete = runs_store.find_complete

    async def counted(connection: Any, selectors: Any) -> Any:
        queries.append(len(selectors))
        return await find_complete(connection, selectors)

    monkeypatch.setattr("service.http.process.find_complete", counted)
    async with serve(database_url, rate_limit="off") as api:
        waiting = [asyncio.create_task(wait(api, f"run_{number % 50}", 25)) for number in range(300)]
        await asyncio.sleep(3)
        before = len(queries)
        await api.store.ingest(*(run_event(f"run_{number}") for number in range(50)))
        responses = await asyncio.gather(*waiting)
    assert {status for status, _, _ in responses} == {200}
    assert len(queries) - before <= 5
    assert max(queries) == 50


@pytest.mark.slow
async def test_number_of_statements_does_not_depend_on_waiting_organizations(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one query per organization, each notification would cause two statements for each of them."""
    keys = [(await api.make_organization(f"organization-{number}"))[1] for number in range(20)]
    waiting = [asyncio.create_task(wait(api, "run_1", 20, key)) for key in keys for _ in range(3)]
    await asyncio.sleep(2)
    statements = record_statements(monkeypatch)
    for _ in range(5):
        await api.store.pool.execute(f"NOTIFY {EVENTS_WRITTEN}")
        await asyncio.sleep(0.1)
    counted = len(statements)
    await api.store.ingest(*(run_event("run_1", organization=f"organization-{number}") for number in range(20)))
    assert {status for status, _, _ in await asyncio.gather(*waiting)} == {200}
    assert counted < 20


async def test_run_of_another_organization_does_not_end_the_wait(api: Api) -> None:
    _, other_key = await api.make_organization("other")
    ours = asyncio.create_task(wait(api, "run_1", 20))
    theirs = asyncio.create_task(wait(api, "run_1", 2, other_key))
    await asyncio.sleep(0.3)
    await api.store.ingest(run_event("run_1"))
    assert (await ours)[0] == 200
    status, _, elapsed_s = await theirs
    assert status == 404
    assert elapsed_s >= 2


@pytest.mark.parametrize("preference", ["wait=1", 'respond-async, Wait = "1"; x=2', "wait=soon, wait=1"])
async def test_prefer_header_sets_the_wait(api: Api, preference: str) -> None:
    started = time.monotonic()
    await api.get("/v1/runs/absent", status=404, Prefer=preference)
    assert 1 <= time.monotonic() - started < 5


@pytest.mark.parametrize("preference", ["wait=soon", "wait=-1", "handling=lenient", "", f"await={WAIT_S}"])
async def test_invalid_preference_is_ignored(shared_api: Api, preference: str) -> None:
    started = time.monotonic()
    await shared_api.get("/v1/runs/absent", status=404, Prefer=preference)
    assert time.monotonic() - started < WAIT_S / 2


async def test_query_parameter_takes_precedence_over_the_header(api: Api) -> None:
    started = time.monotonic()
    await api.get("/v1/runs/absent", {"wait": "0"}, status=404, Prefer=f"wait={WAIT_S}")
    assert time.monotonic() - started < WAIT_S / 2


async def test_preference_is_limited_to_the_maximum_of_the_parameter(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.waiting.LONGEST_WAIT_S", 1)
    started = time.monotonic()
    await api.get("/v1/runs/absent", status=404, Prefer="wait=999999")
    assert 1 <= time.monotonic() - started < 5


@pytest.mark.slow
async def test_request_whose_key_is_revoked_while_it_waits_returns_401(database_url: str, tmp_path: Path) -> None:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as exports:
        api = exports.api
        await api.store.ingest(run_event("run_1", [result("a")], expected_results=2))
        receipt = await Reports(api, exports.storage).send(PASSING, "run_2")
        job = await exports.request()
        used = await api.make_key("engineer")
        paths = ["/v1/runs/run_1", f"/v1/receipts/{receipt['id']}", f"/v1/results/export/{job['id']}"]
        waiting = [asyncio.create_task(api.send("GET", path, {"wait": "30"}, used.key)) for path in paths]
        await asyncio.sleep(0.2)
        assert (await api.send("DELETE", f"/v1/api-keys/{used.key_id}")).status == 204
        async with asyncio.timeout(20):
            assert [response.status for response in await asyncio.gather(*waiting)] == [401, 401, 401]
