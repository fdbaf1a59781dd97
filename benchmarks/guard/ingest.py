"""The short form of the ingest benchmark: the CPU time of COPY in PostgreSQL relative to ingest from RabbitMQ."""

import asyncio
import io
import signal
import subprocess
from typing import Final

import asyncpg

from benchmarks.cpu import backends_ns, process_ns
from benchmarks.ingest import WARM_UP, create_organization, publish, until_stored
from benchmarks.servers import BenchmarkServers, consumer_process, servers

_ROUNDS: Final = 3
_EVENTS: Final = 300


def measure() -> dict[str, float]:
    """Return the ratio of the CPU times: COPY of the rows / consumer and PostgreSQL."""
    with servers() as running:
        asyncio.run(create_organization(running.database_url))
        with consumer_process(running, "runs") as consumer:
            return {"copy": asyncio.run(_compare(running, consumer))}


async def _compare(running: BenchmarkServers, consumer: subprocess.Popen[bytes]) -> float:
    """Alternate between ingest and COPY of the rows that it stored, and return the ratio of the least times."""
    connection = await asyncpg.connect(running.database_url)
    await connection.execute("CREATE TABLE copied (LIKE results INCLUDING ALL)")
    await _ingest(running, connection, consumer, range(WARM_UP))
    await _copy(connection)
    ingest_ns, copy_ns = [], []
    for start in range(WARM_UP, WARM_UP + _ROUNDS * _EVENTS, _EVENTS):
        ingest_ns.append(await _ingest(running, connection, consumer, range(start, start + _EVENTS)))
        copy_ns.append(await _copy(connection))
    await connection.close()
    return min(copy_ns) / min(ingest_ns)


async def _ingest(
    running: BenchmarkServers, connection: asyncpg.Connection, consumer: subprocess.Popen[bytes], events: range
) -> int:
    """Return the CPU time in ns of the consumer and its connections, from a full queue to the last commit."""
    await connection.execute("TRUNCATE results")
    consumer.send_signal(signal.SIGSTOP)  # fill the queue first, so that the speed of publishing doesn't matter
    await publish(running.amqp_url, events)
    consumer_ns, backend_ns = process_ns(consumer.pid), await backends_ns(connection, "results_worker")
    consumer.send_signal(signal.SIGCONT)
    await until_stored(running.database_url, events.stop)
    return process_ns(consumer.pid) - consumer_ns + await backends_ns(connection, "results_worker") - backend_ns


async def _copy(connection: asyncpg.Connection) -> int:
    """Return the CPU time in ns of the PostgreSQL process that copies the stored rows into an equal table."""
    rows = io.BytesIO()
    query = "SELECT * FROM results ORDER BY run_key, case_key"
    await connection.copy_from_query(query, output=rows, format="binary")
    await connection.execute("TRUNCATE copied")
    rows.seek(0)
    before_ns = process_ns(connection.get_server_pid())
    await connection.copy_to_table("copied", source=rows, format="binary")
    return process_ns(connection.get_server_pid()) - before_ns
