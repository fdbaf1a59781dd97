"""Tests of the identity of producers: which events of a batch are accepted, and what refused ones leave behind."""

from pathlib import Path
from typing import Any

import pytest

from service.identity.producers.operations import remove_producer
from service.ingest.batch_items import EventMessage, EventOutcome
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.organizations import store as organizations_store
from tests.run_events import body, run_event
from tests.stored import RETENTION, Store


async def unregister(store: Store, user: str, project_id: str | None = None) -> None:
    async with store.pool.acquire() as connection:
        await remove_producer(connection, "acme", user, project_id)


async def ingest(
    store: Store, *sent: tuple[str | None, Any], required: bool = True, storage_url: str = ""
) -> list[EventOutcome]:
    ingest = RunIngest(BatchStore(store.pool, RETENTION, storage_url=storage_url, requires_producer=required))
    return await ingest.ingest([EventMessage(body(event), user=user) for user, event in sent])


async def create(store: Store, slug: str) -> None:
    async with store.pool.acquire() as connection:
        await organizations_store.create(connection, slug, slug)


async def test_optional_identity_checks_only_registered_users(store: Store) -> None:
    await create(store, "globex")
    await store.register("team-a", project_id="shop")
    outcomes = await ingest(
        store,
        ("team-a", run_event("permitted")),
        ("team-a", run_event("other project", project_id="docs")),
        ("team-a", run_event("other organization", organization="globex")),
        ("unknown", run_event("of an unknown user", organization="globex")),
        (None, run_event("without a user")),
        required=False,
    )
    refused = "producer_not_allowed"
    assert [outcome.reason for outcome in outcomes] == [None, refused, refused, None, None]
    assert await store.pool.fetchval("SELECT count(*) FROM runs") == 3


async def test_user_can_have_several_organizations_and_projects(store: Store) -> None:
    await create(store, "globex")
    for slug, project_id in (("acme", "shop"), ("acme", "docs"), ("globex", None)):
        await store.register("team-a", slug, project_id)
    outcomes = await ingest(
        store,
        ("team-a", run_event("1", project_id="shop")),
        ("team-a", run_event("2", project_id="docs")),
        ("team-a", run_event("3", project_id="web")),
        ("team-a", run_event("4", organization="globex", project_id="web")),
    )
    assert [outcome.status for outcome in outcomes] == ["stored", "stored", "rejected", "stored"]


async def test_refused_event_leaves_no_receipt_and_does_not_use_its_id(store: Store) -> None:
    await store.register("team-a")
    event, invalid = run_event(), {**run_event(), "type": "run.started"}
    outcomes = await ingest(store, ("team-b", event), ("team-b", invalid))
    assert [outcome.reason for outcome in outcomes] == ["producer_not_allowed"] * 2
    assert await store.receipts() == []
    [outcome] = await ingest(store, ("team-a", event))
    assert outcome.status == "stored"


async def test_invalid_event_of_a_permitted_user_has_its_own_reason(store: Store) -> None:
    await store.register("team-a", project_id="shop")
    event, of_other = run_event(), run_event(project_id="docs", shard="x")
    del event["data"]["run"]["project_id"]
    outcomes = await ingest(store, ("team-a", event), ("team-a", of_other), ("team-a", b"{"))
    assert [outcome.reason for outcome in outcomes] == ["invalid", "producer_not_allowed", "not_json"]
    assert len(await store.receipts()) == 1


async def test_removal_applies_to_the_next_batch_of_a_running_consumer(store: Store) -> None:
    await store.register("team-a")
    await store.register("team-a", project_id="shop")
    consumer = RunIngest(BatchStore(store.pool, RETENTION, requires_producer=True))

    async def reason(project_id: str) -> str | None:
        event = body(run_event(project_id, project_id=project_id))
        [outcome] = await consumer.ingest([EventMessage(event, user="team-a")])
        return outcome.reason

    assert (await reason("shop"), await reason("docs")) == (None, None)
    await unregister(store, "team-a", "shop")
    assert await reason("shop") is None  # still registered for all projects
    await unregister(store, "team-a")
    assert (await reason("shop"), await reason("docs")) == ("producer_not_allowed",) * 2


async def test_cdevent_is_checked(store: Store) -> None:
    event = run_event()
    data = {
        "context": {"version": "0.4.1", "id": "1", "source": "/ci", "type": "dev.cdevents.testsuiterun.finished.0.2.0"},
        "subject": {"id": "run", "content": {"outcome": "pass", "environment": {"id": "staging"}}},
        "customData": {"organization": "acme", "project_id": "shop"},
    }
    [outcome] = await ingest(store, ("team-b", {**event, "data": data}))
    assert outcome.reason == "producer_not_allowed"


@pytest.mark.parametrize(("project_id", "reason"), [(None, None), ("shop", "producer_not_allowed")])
async def test_event_with_dataref_needs_a_registration_for_all_projects(
    store: Store, tmp_path: Path, project_id: str | None, reason: str | None
) -> None:
    await store.register("team-a", project_id=project_id)
    event = run_event()
    del event["data"]
    event["dataref"] = "inbox/1/run_1"
    [outcome, other] = await ingest(
        store, ("team-a", event), (None, {**event, "id": "2"}), storage_url=tmp_path.as_uri()
    )
    assert (outcome.reason, other.reason) == (reason, "producer_not_allowed")
    if reason:
        assert "all projects of organization 'acme', which an event with dataref needs" in (outcome.message or "")
        assert (outcome.message or "").endswith("`zof-results producers add team-a --organization acme`")


async def test_names_in_the_suggested_command_are_quoted(store: Store) -> None:
    [outcome] = await ingest(store, ("$(id)", run_event(project_id="a; reboot")))
    assert (outcome.message or "").endswith(
        "`zof-results producers add '$(id)' --organization acme --project 'a; reboot'`"
    )
