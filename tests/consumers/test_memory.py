"""What a consumer needs of memory, however much is waiting and however large an event is."""

import pytest

from benchmarks.servers import peak_rss_mib
from consumers import worker
from service.usecases.ingest.parse_events import MAX_BODY_BYTES
from tests.consumers.conftest import Broker, until
from tests.consumers.processes import consumer
from tests.run_events import body, result, run_event
from tests.stored import Store

pytestmark = pytest.mark.slow

LIMIT_MIB = 120
BACKLOG = 10_000
LIMIT_OF_LARGEST_MIB = 550
IN_HAND = 2 * worker.PREFETCH  # what both lanes of a process are given at once
ENOUGH = 20  # events until it has all of them in hand and its memory of cases is full


async def test_a_backlog_of_ten_thousand_events_fits(store: Store, broker: Broker, database_url: str) -> None:
    results = [result(f"case {number}", case_id=f"tc_{number}") for number in range(100)]
    await broker.publish(*[run_event(f"run_{number}", results) for number in range(BACKLOG)])
    await taken_within(LIMIT_MIB, store, broker, database_url, BACKLOG)


async def test_the_largest_events_fit(store: Store, broker: Broker, database_url: str) -> None:
    """All lanes full of events of the largest size, each of very many small results that all failed."""
    one = result("x" * 20, "failed", failure={"message": "no"})
    count = MAX_BODY_BYTES // (len(body(one)) + 8)
    events = []
    for number in range(IN_HAND):
        results = [{**one, "name": f"{number:06}{case:014}"} for case in range(count)]
        while len(body(run_event(f"run_{number}", results))) > MAX_BODY_BYTES:
            del results[-100:]
        events.append(run_event(f"run_{number}", results))
    await broker.publish(*events)
    await taken_within(LIMIT_OF_LARGEST_MIB, store, broker, database_url, ENOUGH)


async def taken_within(limit_mib: int, store: Store, broker: Broker, database_url: str, runs: int) -> None:
    with consumer(database_url, broker.url, broker.topology, "runs") as process:

        async def all_stored() -> bool:
            return bool(await store.pool.fetchval("SELECT count(*) >= $1 FROM runs", runs))

        await until(all_stored, "the backlog", 240)
        peak = peak_rss_mib(process)
    print(f"peak RSS {peak:.0f} MiB")
    assert peak < limit_mib
    assert await broker.dead() == []
