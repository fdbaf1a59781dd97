"""Tests of the registration of producers: its errors, and its audit trail."""

import pytest

from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.identity.producers.operations import add_producer, list_producers, remove_producer
from service.mutations import store as mutations_store
from tests.stored import Store


async def test_registrations_are_listed_and_removed_with_an_audit_trail(store: Store) -> None:
    async with store.pool.acquire() as connection:
        for project_id in ("shop", None, "docs"):
            await add_producer(connection, "acme", "team-a", project_id)
        listed = await list_producers(connection, "acme")
        assert [row["project_id"] for row in listed] == [None, "docs", "shop"]
        assert await remove_producer(connection, "acme", "team-a", "shop")
        assert not await remove_producer(connection, "acme", "team-a", None)
        assert await list_producers(connection, "acme") == []
        entries = [
            (row["action"], row["subject"]) for row in await mutations_store.list_newest(connection, OrgId(1), 10)
        ]
    assert entries == [
        ("producers remove", "team-a"),
        ("producers remove", "team-a (shop)"),
        ("producers add", "team-a (docs)"),
        ("producers add", "team-a"),
        ("producers add", "team-a (shop)"),
    ]


async def test_change_without_effect_is_an_error(store: Store) -> None:
    async with store.pool.acquire() as connection:
        for project_id in ("shop", None):
            await add_producer(connection, "acme", "team-a", project_id)
            with pytest.raises(Conflict, match="user 'team-a' is already registered for"):
                await add_producer(connection, "acme", "team-a", project_id)
        for user, project_id in (("team-b", None), ("team-a", "docs")):
            with pytest.raises(NotFound, match="isn't registered for"):
                await remove_producer(connection, "acme", user, project_id)
        with pytest.raises(NotFound, match="organization 'absent' not found"):
            await add_producer(connection, "absent", "team-a", None)
        assert len(await mutations_store.list_newest(connection, OrgId(1), 10)) == 2
