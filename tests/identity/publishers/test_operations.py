"""Tests of trusted publishers that an operator manages: their audit trail, their limit, and their errors."""

import pytest

from service.domain.addresses import AllowedAddresses
from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.identity.publishers import operations as publishers_operations
from service.identity.publishers.contract import PublisherIn
from service.mutations import store as mutations_store
from tests.stored import Store

REQUESTED = PublisherIn(provider="github", claims={"repository_id": "7", "repository_owner_id": "3"})
NEW = publishers_operations.new_publisher(REQUESTED, "shop", AllowedAddresses())


async def test_changes_by_an_operator_are_listed_and_audited(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(publishers_operations, "MAX_PUBLISHERS", 1)
    async with store.pool.acquire() as connection:
        publisher_id = await publishers_operations.add_as_operator(connection, "acme", NEW)
        with pytest.raises(Conflict, match="has 1 publishers"):
            await publishers_operations.add_as_operator(connection, "acme", NEW)
        [listed] = await publishers_operations.list_as_operator(connection, "acme")
        assert (listed["publisher_id"], listed["name"]) == (publisher_id, "GitHub Actions 7")
        for enabled in (False, True):
            await publishers_operations.enable_as_operator(connection, "acme", publisher_id, enabled=enabled)
        await publishers_operations.remove_as_operator(connection, "acme", publisher_id)
        for id_ in (publisher_id, "pub_1"):
            with pytest.raises(NotFound, match=f"publisher '{id_}' not found"):
                await publishers_operations.remove_as_operator(connection, "acme", id_)
        assert await publishers_operations.list_as_operator(connection, "acme") == []
        assert await publishers_operations.list_exchanges_as_operator(connection, "acme", None) == []
        entries = [
            (row["action"], row["subject"]) for row in await mutations_store.list_newest(connection, OrgId(1), 10)
        ]
    assert entries == [(f"publishers {action}", publisher_id) for action in ("remove", "enable", "disable", "add")]
