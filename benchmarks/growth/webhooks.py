"""The time per delivery, and the memory of the dispatcher, for a number of webhooks."""

import asyncio
import os
import subprocess
import sys
import time
from typing import Final, NamedTuple

import asyncpg

from benchmarks.cpu import backends_ns, process_ns
from benchmarks.growth.sizes import memory_mib
from benchmarks.webhooks import ALLOWED, Counter, receiver
from service.database.encryption import SecretCipher
from service.domain.ids import OrgId
from service.webhooks.operations import create_webhook
from service.webhooks.store import WebhookFields

DELIVERIES: Final = 3_000
ORGANIZATIONS: Final = 10
_POLL_S: Final = 0.2
_MAX_PER_ORGANIZATION: Final = 100
# The deliveries of all webhooks together are $1. Each event has as many deliveries as its organization has webhooks.
_FILL: Final = """
WITH events AS (
    INSERT INTO events (org_id, event_id, type, data)
    SELECT org_id, 'evt_' || lpad(to_hex(n), 32, '0'), 'run.failed', json_build_object('run_id', repeat('x', 1000))
    FROM (SELECT org_id, count(*) AS hooks FROM webhooks GROUP BY org_id) organization,
         generate_series(1, greatest(1, ($1 / (SELECT count(*) FROM webhooks))::int)) n
    RETURNING org_id, event_id
)
INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)
SELECT org_id, webhook_id, delivery_id(webhook_id, event_id), event_id FROM events JOIN webhooks USING (org_id)
"""


class DeliveryCost(NamedTuple):
    """The CPU time per delivery in ms of the dispatcher and of PostgreSQL, and the peak memory of the dispatcher."""

    cpu_ms: float
    peak_mib: float


class DeliveryProgress(NamedTuple):
    """The number of waiting deliveries, and the CPU time of the dispatcher and its connections in ns."""

    waiting: int
    used_ns: int


def measure_webhooks(url: str, webhooks: int) -> DeliveryCost:
    """Replace all webhooks, and deliver the same number of deliveries, spread over the webhooks."""
    with receiver() as counter:
        asyncio.run(create_webhooks(url, webhooks, counter.url))
        asyncio.run(_fill(url))
        return _deliver(url, counter)


async def create_webhooks(url: str, webhooks: int, target: str) -> None:
    """Replace all webhooks by this number, in as many organizations as necessary."""
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM webhooks; DELETE FROM events")
    for number in range(webhooks):
        org_id = OrgId(1 + number % ORGANIZATIONS)
        fields = WebhookFields(target, "", ["run.failed"], None, True)
        async with connection.transaction():
            await create_webhook(connection, SecretCipher(), org_id, fields, _MAX_PER_ORGANIZATION)
    await connection.execute("VACUUM (ANALYZE) webhooks")
    await connection.close()


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(_FILL, DELIVERIES)
    await connection.execute("VACUUM (ANALYZE) deliveries, events")
    await connection.close()


def _deliver(url: str, counter: Counter) -> DeliveryCost:
    """Run a dispatcher until it has recorded all deliveries. Its start isn't measured."""
    settings = {"RESULTS_DATABASE_URL": url, "RESULTS_AMQP_URL": "", "RESULTS_LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "consumers", "webhooks"]
    counter.clear()
    deliveries = asyncio.run(_progress(url, 0)).waiting
    process = subprocess.Popen(command, env={**os.environ, **ALLOWED, **settings})
    try:
        counter.wait(deliveries // 10)
        before = asyncio.run(_progress(url, process.pid))
        counter.wait(deliveries)
        while (after := asyncio.run(_progress(url, process.pid))).waiting:
            time.sleep(_POLL_S)
        used_ns = after.used_ns - before.used_ns
        return DeliveryCost(used_ns / before.waiting / 1e6, memory_mib(process.pid, "VmHWM"))
    finally:
        process.terminate()
        process.wait(30)


async def _progress(url: str, process_id: int) -> DeliveryProgress:
    admin = await asyncpg.connect(url)
    waiting = await admin.fetchval("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL")
    used_ns = process_ns(process_id) + await backends_ns(admin, "results_worker")
    await admin.close()
    return DeliveryProgress(waiting, used_ns)
