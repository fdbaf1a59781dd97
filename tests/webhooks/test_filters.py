"""Filters of webhooks: their fields in the API, and the events that match them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from service.database.transactions import notifying_transaction
from service.events import store as events_store
from service.events.model import EVENTS, FILTERED_SUBJECTS, NewEvent
from tests.run_events import result, run_event
from tests.served import Api, serve
from tests.stored import Store
from tests.webhooks.dispatching import add_webhook
from tests.webhooks.noticing import case_event

URL = "https://hooks.example.com/zof"
NO_FILTERS = {"project_id": None, "branch": None, "owner": None, "state": None}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(shared_database_url: str) -> AsyncIterator[Api]:
    async with serve(shared_database_url) as served:
        yield served


async def send(api: Api, status: int, method: str = "POST", path: str = "/v1/webhooks", **body: Any) -> Any:
    response = await api.send(method, path, json={"url": URL, **body} if method == "POST" else body)
    document = await response.json()
    assert response.status == status, document
    return document


@pytest.mark.asyncio(loop_scope="module")
async def test_webhook_without_filters_has_the_standard_format(shared_api: Api) -> None:
    webhook = await send(shared_api, 201)
    assert (webhook["format"], webhook["filters"]) == ("standard", NO_FILTERS)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("body", [{"project_id": "shop"}, {"filters": {"project_id": "shop"}}])
async def test_project_is_the_same_in_both_fields(shared_api: Api, body: dict[str, Any]) -> None:
    webhook = await send(shared_api, 201, **body)
    assert (webhook["project_id"], webhook["filters"]["project_id"]) == ("shop", "shop")
    path = f"/v1/webhooks/{webhook['id']}"
    changed = await send(shared_api, 200, "PATCH", path, filters={"project_id": "bank"})
    assert changed["project_id"] == "bank"
    changed = await send(shared_api, 200, "PATCH", path, project_id=None, filters={"branch": "main"})
    assert changed["filters"] == NO_FILTERS | {"branch": "main"}
    error = await send(shared_api, 400, "PATCH", path, project_id="shop", filters={"project_id": "bank"})
    assert error["error"]["param"] == "filters.project_id"
    error = await send(shared_api, 400, project_id="shop", filters={"project_id": None})
    assert error["error"]["message"] == "filters.project_id: must equal project_id; send only one of them"


@pytest.mark.asyncio(loop_scope="module")
async def test_change_keeps_absent_filters_and_null_removes_one(shared_api: Api) -> None:
    webhook = await send(shared_api, 201, format="slack", filters={"owner": "@cart", "state": "broken"})
    path = f"/v1/webhooks/{webhook['id']}"
    changed = await send(shared_api, 200, "PATCH", path, filters={"state": None, "branch": "main"})
    assert changed["filters"] == NO_FILTERS | {"owner": "@cart", "branch": "main"}
    assert (await send(shared_api, 200, "PATCH", path, enabled=False))["format"] == "slack"
    assert (await shared_api.get(path))["filters"] == changed["filters"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("filters", "event", "types"),
    [
        ({"owner": "@cart"}, "run.failed", "case.flaky, case.broken, case.recovered, failure_group.opened"),
        ({"state": "broken"}, "failure_group.opened", "case.flaky, case.broken, case.recovered"),
        ({"state": "broken"}, "agent.offline", "case.flaky, case.broken, case.recovered"),
        ({"branch": "main"}, "export.failed", "run.completed, run.updated, run.failed, gate.decided"),
    ],
)
async def test_filter_that_an_event_type_never_matches_is_rejected(
    shared_api: Api, filters: dict[str, str], event: str, types: str
) -> None:
    [name] = filters
    error = (await send(shared_api, 400, events=["case.broken", event], filters=filters))["error"]
    assert error["param"] == f"filters.{name}"
    assert error["message"].startswith(
        f"filters.{name}: events of type {event} have no {name}; it can filter only {types}"
    )
    webhook = await send(shared_api, 201, events=["case.broken"], filters=filters)
    path = f"/v1/webhooks/{webhook['id']}"
    error = await send(shared_api, 400, "PATCH", path, events=[event])
    assert error["error"]["param"] == f"filters.{name}"
    await send(shared_api, 200, "PATCH", path, events=[event], filters={name: None})
    await send(shared_api, 201, filters=filters)  # all events that can match


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("filters", [{"state": "red"}, {"owner": ""}, {"branch": "a" * 401}])
async def test_invalid_filter_is_rejected(shared_api: Api, filters: dict[str, str]) -> None:
    error = await send(shared_api, 400, filters=filters)
    assert error["error"]["message"].startswith(f"filters.{next(iter(filters))}")
    await send(shared_api, 400, filters={"environment": "ci"})
    await send(shared_api, 400, format="email")


def test_each_filter_has_subjects_of_events() -> None:
    subjects = {definition.subject for definition in EVENTS.values()}
    assert all(subjects.issuperset(filtered) for filtered in FILTERED_SUBJECTS.values())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {"broken", "flaky", "digest", "export"}),
        ({"project_id": "bank"}, set()),
        ({"branch": "main"}, {"broken", "flaky"}),
        ({"owner": "@cart"}, {"broken", "digest"}),
        ({"state": "flaky"}, {"flaky"}),
        ({"owner": "@cart", "state": "flaky"}, set()),
    ],
)
@pytest.mark.parametrize("format_", ["standard", "teams"])
async def test_events_match_all_filters(store: Store, filters: Any, expected: set[str], format_: str) -> None:
    await add_webhook(store, URL, format=format_, **filters)
    events: dict[str, NewEvent] = {
        "broken": case_event("case_1", branch="main", owners=["@pay", "@cart"], state="broken"),
        "flaky": case_event("case_2", branch="main", owners=[], state="flaky"),
        "digest": case_event("case_3", owners=["@cart"]),
        "export": case_event(None),
    }
    async with store.pool.acquire() as connection, notifying_transaction(connection):
        await events_store.insert(connection, list(events.values()))
    table = "deliveries" if format_ == "standard" else "notices"
    found = {row["event_id"] for row in await store.pool.fetch(f"SELECT event_id FROM {table}")}
    assert found == {events[name].event_id for name in expected}


async def test_runs_and_decisions_have_the_branch_of_the_run(database_url: str) -> None:
    async with serve(database_url) as stored:
        await stored.send("PUT", "/v1/gates/release", json={"policy": {"max_failures": 0}})
        await stored.store.ingest(run_event("run_1", [result()], branch="release/1"))
        response = await stored.send("POST", "/v1/runs/run_1/decisions", json={"gate": "release"})
        assert response.status in (200, 201), await response.text()
        rows = await stored.store.pool.fetch("SELECT type, branch FROM events WHERE run_id = 'run_1'")
        assert {row["branch"] for row in rows} == {"release/1"}
        assert {row["type"] for row in rows} >= {"run.completed", "gate.decided"}
