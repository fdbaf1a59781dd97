"""The resources of an API process: database pools, storage, rate limits, and caches, opened once per process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from service import resources
from service.api.backlog_metrics import BacklogMetrics
from service.api.http.concurrency_limits import KeyLimit
from service.api.http.failed_exchanges import FailedExchangeLimit
from service.api.http.key_cache import KeyCache, KeyLookups, new_key_cache
from service.api.http.rate_limit_counters import open_rate_limit_counters
from service.api.http.rate_limits import RateLimits
from service.api.http.unknown_keys import UnknownKeyLimit
from service.api.storage_health import StorageHealth
from service.domain.keys import Caller
from service.outbound.issuers import Issuers, open_issuers
from service.settings import Settings
from service.storage import Storage
from service.store import exports
from service.store.encryption import SecretCipher
from service.store.events import NUMBERED, WRITTEN
from service.store.postgres.database import OutagesAsUnavailable, Pool
from service.store.postgres.notifications import open_notifications
from service.store.queries import receipts
from service.store.queries.runs import RunSelector, find_complete
from service.usecases.administration.exchange_token import PublisherIssuers
from service.usecases.events.subscriptions import EventSubscriptions, open_subscriptions
from service.usecases.watch import Watch, watching

_WORKER_CONNECTIONS: Final = 3  # for metrics, and for queries that cover the waiting requests of all organizations
_UPLOAD_WAIT_S: Final = 20.0  # the jobs of a CI pipeline upload their reports at the same time


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
            pool = await opened.enter_async_context(resources.database_pool(settings, "results_api"))
            list_pool = pool
            if settings.database_read_url:
                replica = settings.model_copy(update={"database_url": settings.database_read_url})
                list_pool = await opened.enter_async_context(resources.database_pool(replica, "results_api"))
            worker_pool = await opened.enter_async_context(
                resources.database_pool(settings, "results_worker", _WORKER_CONNECTIONS)
            )
        notifications = await opened.enter_async_context(open_notifications(pool, NUMBERED, WRITTEN))
        watched = worker_pool, notifications, WRITTEN
        run_watch = await opened.enter_async_context(watching(*watched, find_complete))
        export_watch = await opened.enter_async_context(watching(*watched, exports.find_finished))
        receipt_watch = await opened.enter_async_context(watching(*watched, receipts.find_finished))
        storage = resources.open_storage(settings)
        storage_health = StorageHealth(storage)
        await storage_health.find_error()  # logs a wrong configuration at the start
        subscriptions = await opened.enter_async_context(open_subscriptions(pool, worker_pool, notifications))
        limits = RateLimits(settings, await opened.enter_async_context(open_rate_limit_counters(settings)))
        yield Resources(
            settings, pool, list_pool, storage, subscriptions, limits, run_watch, export_watch, receipt_watch,
            BacklogMetrics(worker_pool), resources.open_secret_cipher(settings),
            KeyLimit("RESULTS_UPLOADS_PER_KEY", settings.uploads_per_key, _UPLOAD_WAIT_S),
            KeyLimit("RESULTS_STREAMS_PER_KEY", settings.streams_per_key),
            KeyLimit("RESULTS_WAITS_PER_KEY", settings.waits_per_key),
            storage_health, await opened.enter_async_context(open_issuers(settings.issuer_addresses)),
            PublisherIssuers(pool),
        )  # fmt: skip
