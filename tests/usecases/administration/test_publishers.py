"""Tests of trusted publishers that an operator manages: their audit trail, their limit, and their errors."""

import pytest

from service.contracts.publishers import PublisherIn
from service.domain.addresses import AllowedAddresses
from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.store import audit
from service.usecases.administration import publishers
from tests.stored import Store

REQUESTED = PublisherIn(provider="github", claims={"repository_id": "7", "repository_owner_id": "3"})
NEW = publishers.read_publisher(REQUESTED, "shop", AllowedAddresses())


async def test_changes_by_an_operator_are_listed_and_audited(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(publishers, "MAX_PUBLISHERS", 1)
    async with store.pool.acquire() as connection:
        publisher_id = await publishers.add_as_operator(connection, "acme", NEW)
        with pytest.raises(Conflict, match="has 1 publishers"):
            await publishers.add_as_operator(connection, "acme", NEW)
        [listed] = await publishers.list_as_operator(connection, "acme")
        assert (listed["publisher_id"], listed["name"]) == (publisher_id, "GitHub Actions 7")
        for enabled in (False, True):
            await publishers.enable_as_operator(connection, "acme", publisher_id, enabled=enabled)
        await publishers.remove_as_operator(connection, "acme", publisher_id)
        for id_ in (publisher_id, "pub_1"):
            with pytest.raises(NotFound, match=f"publisher '{id_}' not found"):
                await publishers.remove_as_operator(connection, "acme", id_)
        assert await publishers.list_as_operator(connection, "acme") == []
        assert await publishers.list_exchanges_as_operator(connection, "acme", None) == []
        entries = [(row["action"], row["subject"]) for row in await audit.list_newest(connection, OrgId(1), 10)]
    assert entries == [(f"publishers {action}", publisher_id) for action in ("remove", "enable", "disable", "add")]
