"""Tests of the query for waiting requests: it survives outages, and ends when it is canceled."""

import asyncio
from collections.abc import Sequence
from typing import Any

from service.database.notifications import Notifications
from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.events.store import EVENTS_WRITTEN
from service.tasks.watch import Watch, watching
from tests.stored import Store


async def test_watch_ends_if_the_database_stops_at_the_same_time(store: Store) -> None:
    """The cleanup of a canceled query raises Unavailable if the database is down."""
    querying = asyncio.Event()

    async def find_finished(_connection: Any, _watched: Sequence[tuple[OrgId, str]]) -> set[tuple[OrgId, str]]:
        querying.set()
        try:
            await asyncio.sleep(60)
        finally:
            raise Unavailable("the database is not available")

    watch: Watch[str]
    async with asyncio.timeout(5):
        async with watching(store.pool, Notifications(store.pool), EVENTS_WRITTEN, find_finished) as watch:
            waiting = asyncio.create_task(watch.wait(OrgId(1), "run_1", 60))
            await querying.wait()
        waiting.cancel()
