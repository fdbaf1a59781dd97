"""The resources of an API process: database pools, storage, rate limits, and caches, opened once per process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from service import processes
from service.database.database import Pool
from service.database.encryption import SecretCipher
from service.database.errors import OutagesAsUnavailable
from service.database.notifications import open_notifications
from service.events.store import EVENTS_NUMBERED, EVENTS_WRITTEN
from service.events.subscriptions import EventSubscriptions, open_subscriptions
from service.exports import store as exports_store
from service.http.backlog_metrics import BacklogMetrics
from service.http.key_lookups import KeyCache, KeyLookups, new_key_cache
from service.http.limits import FailedExchangeLimit, KeyLimit, UnknownKeyLimit
from service.http.rate_limits import RateLimits, open_rate_limit_counters
from service.identity.keys.model import Caller
from service.identity.publishers.exchange_token import PublisherIssuers
from service.outbound.issuers import Issuers, open_issuers
from service.receipts import store as receipts_store
from service.runs.store import RunSelector, find_complete
from service.settings import Settings
from service.storage import Storage
from service.tasks.watch import Watch, watching

_MAX_AGE_S: Final = 5.0  # of the state of the storage
_WORKER_CONNECTIONS: Final = 3  # for metrics, and for queries that cover the waiting requests of all organizations
_UPLOAD_WAIT_S: Final = 20.0  # the jobs of a CI pipeline upload their reports at the same time


class StorageHealth:
    """Checks the storage at most once in 5 s."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = asyncio.Lock()
        self._expires_at = 0.0
        self._error: str | None = None

    async def find_error(self) -> str | None:
        """Return the reason why the storage can't be used, or None. A failed check logs the reason."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                self._error = await processes.check_storage(self._storage)
                self._expires_at = time.monotonic() + _MAX_AGE_S
        return self._error


@dataclass(frozen=True)
class Resources:
    """The opened resources. `pool` uses the primary; `list_pool` can use a replica, whose data can lag slightly."""

    settings: Settings
    pool: Pool
    list_pool: Pool
    storage: Storage
    subscriptions: EventSubscriptions
    rate_limits: RateLimits
    run_watch: Watch[RunSelector]
    export_watch: Watch[str]
    receipt_watch: Watch[str]
    backlog_metrics: BacklogMetrics
    secret_cipher: SecretCipher
    uploads: KeyLimit
    streams: KeyLimit
    waits: KeyLimit
    storage_health: StorageHealth
    issuers: Issuers
    publisher_issuers: PublisherIssuers
    # At most 10,000 keys, about 10 MB. An entry ends after 4 s, so that a revoked key is rejected.
    key_cache: KeyCache = field(default_factory=new_key_cache)
    key_lookups: KeyLookups[Caller] = field(default_factory=KeyLookups)
    unknown_keys: UnknownKeyLimit = field(default_factory=UnknownKeyLimit)
    failed_exchanges: FailedExchangeLimit = field(default_factory=FailedExchangeLimit)


RESOURCES: Final = web.AppKey("resources", Resources)


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the resources, and close them after the block. Raises Unavailable if the database doesn't respond."""
    async with AsyncExitStack() as opened:
        async with OutagesAsUnavailable():
            pool = await opened.enter_async_context(processes.database_pool(settings, "results_api"))
            list_pool = pool
            if settings.database_read_url:
                replica = settings.model_copy(update={"database_url": settings.database_read_url})
                list_pool = await opened.enter_async_context(processes.database_pool(replica, "results_api"))
            worker_pool = await opened.enter_async_context(
                processes.database_pool(settings, "results_worker", _WORKER_CONNECTIONS)
            )
        notifications = await opened.enter_async_context(open_notifications(pool, EVENTS_NUMBERED, EVENTS_WRITTEN))
        watched = worker_pool, notifications, EVENTS_WRITTEN
        run_watch = await opened.enter_async_context(watching(*watched, find_complete))
        export_watch = await opened.enter_async_context(watching(*watched, exports_store.find_finished))
        receipt_watch = await opened.enter_async_context(watching(*watched, receipts_store.find_finished))
        storage = processes.open_storage(settings)
        storage_health = StorageHealth(storage)
        await storage_health.find_error()  # logs a wrong configuration at the start
        subscriptions = await opened.enter_async_context(open_subscriptions(pool, worker_pool, notifications))
        limits = RateLimits(settings, await opened.enter_async_context(open_rate_limit_counters(settings)))
        yield Resources(
            settings, pool, list_pool, storage, subscriptions, limits, run_watch, export_watch, receipt_watch,
            BacklogMetrics(worker_pool), processes.open_secret_cipher(settings),
            KeyLimit("RESULTS_UPLOADS_PER_KEY", settings.uploads_per_key, _UPLOAD_WAIT_S),
            KeyLimit("RESULTS_STREAMS_PER_KEY", settings.streams_per_key),
            KeyLimit("RESULTS_WAITS_PER_KEY", settings.waits_per_key),
            storage_health, await opened.enter_async_context(open_issuers(settings.issuer_addresses)),
            PublisherIssuers(pool),
        )  # fmt: skip
