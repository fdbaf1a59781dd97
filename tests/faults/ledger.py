"""A publisher that records which events the broker confirmed, and the comparison with the stored events."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import asyncpg
from aio_pika.exceptions import AMQPError

from consumers.topology import RUN_COMPLETED, Topology
from tests.run_events import body, result, run_event

CASES = 10
SHARDS = 2


def shard_event(number: int) -> dict[str, Any]:
    """Return the event with this number. Two consecutive events are the shards of one run."""
    run, shard = divmod(number, SHARDS)
    results = [result(f"case {shard} {case}", "failed" if case == 0 else "passed") for case in range(CASES)]
    return run_event(f"run_{run}", results, id=f"event-{number}", expected_shards=SHARDS, shard=shard + 1)


@dataclass
class Ledger:
    """Publishes numbered events, also after lost connections, and records the attempted and the confirmed ones."""

    url: str
    topology: Topology
    attempted: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)

    async def publish(self, count: int, pause_s: float) -> None:
        """Publish until `count` events are confirmed. Like a producer, publish an unconfirmed event again."""
        pending = list(range(count))[::-1]
        while pending:
            with contextlib.suppress(AMQPError, OSError, TimeoutError, RuntimeError):
                await self._publish_on_one_connection(pending, pause_s)
            await asyncio.sleep(0.2)

    async def _publish_on_one_connection(self, pending: list[int], pause_s: float) -> None:
        async with await aio_pika.connect(self.url, timeout=5) as connection:
            channel = await connection.channel(publisher_confirms=True)
            exchange = await channel.get_exchange(self.topology.runs_exchange, ensure=False)
            while pending:
                number = pending[-1]
                self.attempted.add(number)
                message = aio_pika.Message(body(shard_event(number)), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await exchange.publish(message, routing_key=RUN_COMPLETED, mandatory=True, timeout=5)
                self.confirmed.add(number)
                pending.pop()
                await asyncio.sleep(pause_s)


@dataclass(frozen=True)
class LedgerDifferences:
    """The differences between the confirmed events and the database."""

    lost: list[str]
    duplicated: int
    wrong_runs: list[str]


async def compare(database_url: str, ledger: Ledger) -> LedgerDifferences:
    """Compare: each confirmed event must be stored once, and each run must be complete with exactly its cases."""
    connection = await asyncpg.connect(database_url)
    try:
        stored = {row[0] for row in await connection.fetch("SELECT event_id FROM receipts WHERE status = 'stored'")}
        expected = {f"event-{number}" for number in ledger.confirmed}
        duplicated = await connection.fetchval(
            "SELECT count(*) FROM"
            " (SELECT 1 FROM receipts GROUP BY org_id, source, event_id HAVING count(*) > 1) AS twice"
        )
        wrong = await connection.fetch(
            "SELECT run_id FROM runs r WHERE NOT complete OR failed <> $1 OR passed <> $2"
            " OR (SELECT count(*) FROM results x WHERE (x.org_id, x.run_key) = (r.org_id, r.run_key)) <> $1 + $2",
            SHARDS,
            SHARDS * (CASES - 1),
        )
        return LedgerDifferences(sorted(expected - stored), duplicated, [row[0] for row in wrong])
    finally:
        await connection.close()
