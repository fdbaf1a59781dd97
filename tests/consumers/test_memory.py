"""Tests of the memory that a consumer uses, with a long queue and with the largest events."""

from functools import partial

import pytest

from benchmarks.servers import peak_rss_mib
from consumers.inbox import INBOX_BYTES
from consumers.isolation import PREFETCH
from service.ingest.parse_events import MAX_BODY_BYTES
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker, until
from tests.proxies import UnreliableProxy
from tests.run_events import body, result, run_event
from tests.stored import Store

pytestmark = pytest.mark.slow

LIMIT_MIB = 120
BACKLOG = 10_000
LIMIT_OF_LARGEST_MIB = 350
LARGEST = 80  # events, many times the number that the two consumers of a process prefetch
PREFETCHED = PREFETCH + 1  # messages, so that one consumer has the maximum number at one time
LIMIT_OF_LARGE_MIB = 4 * INBOX_BYTES // 2**20  # with the copies that the connection and the dead letters need
STORED = 20  # events; after these, all events are prefetched and the cache of known cases is full


async def test_backlog_of_ten_thousand_events_fits_into_memory(store: Store, broker: Broker, database_url: str) -> None:
    results = [result(f"case {number}", case_id=f"tc_{number}") for number in range(100)]
    await broker.publish(*[run_event(f"run_{number}", results) for number in range(BACKLOG)])
    await assert_memory_below(LIMIT_MIB, store, broker, database_url, BACKLOG)


async def test_largest_events_fit_into_memory(store: Store, broker: Broker, database_url: str) -> None:
    """All consumers have prefetched events of the maximum size, each with very many small failed results."""
    failing = result("x" * 20, "failed", failure={"message": "no"})
    count = MAX_BODY_BYTES // (len(body(failing)) + 8)
    events = []
    for number in range(LARGEST):
        results = [{**failing, "name": f"{number:06}{case:014}"} for case in range(count)]
        while len(body(run_event(f"run_{number}", results))) > MAX_BODY_BYTES:
            del results[-100:]
        events.append(run_event(f"run_{number}", results))
    await broker.publish(*events)
    await assert_memory_below(LIMIT_OF_LARGEST_MIB, store, broker, database_url, STORED)


async def test_large_events_after_small_ones_fit_into_memory(store: Store, broker: Broker, database_url: str) -> None:
    """The consumer prefetches as many large events as small ones, while it can't handle them without the database."""
    async with UnreliableProxy(database_url) as proxy:
        with consumer(proxy.url, broker.url, broker.topology, "runs", consumer_channels="1") as process:
            await broker.publish(*[run_event(f"run_{number}") for number in range(PREFETCHED)])
            await until(partial(are_stored, store, PREFETCHED), "the small events", 60)
            before = peak_rss_mib(process)
            proxy.rejects_connections = True
            proxy.close_connections()
            await broker.publish(run_event("small"), *[b" " * MAX_BODY_BYTES] * PREFETCHED)
            await until(partial(are_prefetched, broker), "the large events to be delivered", 60)
            proxy.resume()
            await until(partial(are_dead_letters, broker, PREFETCHED), "the dead letters", 120)
            peak = peak_rss_mib(process)
    print(f"RSS {before:.0f} MiB with small events, {peak:.0f} MiB with large events")
    assert peak - before < LIMIT_OF_LARGE_MIB


async def are_prefetched(broker: Broker) -> bool:
    """Return whether the consumer has as many messages as the broker can deliver to it."""
    return await broker.depth(broker.topology.runs_queue) <= 1 + PREFETCHED - PREFETCH


async def are_dead_letters(broker: Broker, count: int) -> bool:
    return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue)) == count


async def are_stored(store: Store, runs: int) -> bool:
    return bool(await store.pool.fetchval("SELECT count(*) >= $1 FROM runs", runs))


async def assert_memory_below(limit_mib: int, store: Store, broker: Broker, database_url: str, runs: int) -> None:
    with consumer(database_url, broker.url, broker.topology, "runs") as process:
        await until(partial(are_stored, store, runs), "all runs", 240)
        peak = peak_rss_mib(process)
    print(f"peak RSS {peak:.0f} MiB")
    assert peak < limit_mib
    assert await broker.pop_dead_letters() == []
