"""The short form of the webhook benchmark: the CPU time of a bare client loop relative to a dispatcher."""

import asyncio
import subprocess
import time
from datetime import timedelta
from typing import Final

import asyncpg

from benchmarks.cpu import backends_ns, process_ns
from benchmarks.ingest import create_organization, event
from benchmarks.servers import BenchmarkServers, consumer_process, servers
from benchmarks.webhooks import ALLOWED, Counter, fill, measure_bare, receiver, wait_until_recorded
from service.database import database
from service.ingest.batch_items import EventMessage
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore

_DELIVERIES: Final = 8_000
_WARM_UP: Final = _DELIVERIES // 4


def measure() -> dict[str, float]:
    """Return the ratio of the CPU times: bare client loop / dispatcher and PostgreSQL."""
    with servers(with_broker=False) as running, receiver() as counter:
        asyncio.run(create_organization(running.database_url))
        asyncio.run(_insert_event(running.database_url))
        body = asyncio.run(fill(running, _DELIVERIES, counter.url))
        dispatcher_ns = _deliver(running, counter)
        bare_ns = _post(body, counter)
    return {"bare_client": bare_ns / dispatcher_ns}


async def _insert_event(url: str) -> None:
    """Ingest a failed run, whose event becomes the body of all deliveries."""
    pool = await database.open_pool(url, "results_worker", 1)
    (outcome,) = await RunIngest(BatchStore(pool, timedelta(days=3650))).ingest([EventMessage(event(0))])
    await database.close_pool(pool)
    if outcome.status != "stored":
        raise RuntimeError(f"the event has the outcome {outcome}")


def _deliver(running: BenchmarkServers, counter: Counter) -> float:
    """Return the CPU time in ns per delivery of the dispatcher and its connections, after a warm-up."""
    counter.clear()
    with consumer_process(running, "webhooks", RESULTS_AMQP_URL="", **ALLOWED) as dispatcher:
        counter.wait(_WARM_UP)
        delivered_before = counter.count.value
        before_ns = asyncio.run(_used_ns(running, dispatcher))
        delivered = (delivered_before + counter.count.value) / 2  # the dispatcher continues while the time is read
        wait_until_recorded(running)
        used_ns = asyncio.run(_used_ns(running, dispatcher)) - before_ns
    return float(used_ns / (_DELIVERIES - delivered))


async def _used_ns(running: BenchmarkServers, dispatcher: subprocess.Popen[bytes]) -> int:
    connection = await asyncpg.connect(running.database_url)
    used_ns = process_ns(dispatcher.pid) + await backends_ns(connection, "results_worker")
    await connection.close()
    return used_ns


def _post(body: bytes, counter: Counter) -> float:
    """Return the CPU time in ns per post of a loop that only posts."""
    measure_bare(_WARM_UP, body, counter)
    before_ns = time.process_time_ns()
    measure_bare(_DELIVERIES, body, counter)
    return (time.process_time_ns() - before_ns) / _DELIVERIES
