"""Tests of ingest with fault injection: each event that the broker confirmed is stored exactly once."""

import asyncio
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from consumers.topology import Topology
from service.database import migrations
from service.dev.postgres import Postgres, temporary_postgres
from service.dev.rabbitmq import RabbitMQ
from service.organizations import store as organizations_store
from tests.consumers.processes import consumer
from tests.faults.ledger import Ledger, compare

pytestmark = pytest.mark.slow

EVENTS = 800
PAUSE_S = 0.02
QUEUE_READY_S = 10  # a younger quorum queue might not survive a SIGKILL of its broker
RECOVERY_S = 120


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    with temporary_postgres(tmp_path / "postgres") as server:
        yield server


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path / "rabbitmq") as broker:
        yield broker


class ConsumerGroup:
    """Consumer processes; a process that exits is replaced."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]], size: int) -> None:
        self._start = start
        self.processes = [start() for _ in range(size)]

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self._start()

    def replace_exited(self) -> None:
        for index, process in enumerate(self.processes):
            if process.poll() is not None:
                self.processes[index] = self._start()


@pytest.fixture
async def ledger(postgres: Postgres, rabbitmq: RabbitMQ) -> Ledger:
    await migrations.apply(postgres.url)
    connection = await asyncpg.connect(postgres.url)
    await organizations_store.create(connection, "acme", "Acme")
    await connection.close()
    topology = Topology()
    async with await aio_pika.connect(rabbitmq.url) as broker:
        await topology.declare(await broker.channel())
    await asyncio.sleep(QUEUE_READY_S)
    return Ledger(rabbitmq.url, topology)


@pytest.fixture
def consumers(postgres: Postgres, rabbitmq: RabbitMQ, ledger: Ledger) -> Iterator[ConsumerGroup]:
    """Two consumers, started after the queues are declared."""
    with ExitStack() as started:
        yield ConsumerGroup(lambda: started.enter_context(consumer(postgres.url, rabbitmq.url, Topology(), "runs")), 2)


async def assert_nothing_lost(postgres: Postgres, ledger: Ledger, consumers: ConsumerGroup) -> None:
    """Wait until every confirmed event is stored; then assert that no event is duplicated and no run is wrong."""
    deadline = asyncio.get_running_loop().time() + RECOVERY_S
    while (found := await compare(postgres.url, ledger)).lost and asyncio.get_running_loop().time() < deadline:
        consumers.replace_exited()
        await asyncio.sleep(0.5)
    print(f"confirmed {len(ledger.confirmed)}, lost {len(found.lost)}, duplicated {found.duplicated}")
    assert found.lost == []
    assert found.duplicated == 0
    assert found.wrong_runs == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_consumers_are_killed_at_random_times(
    postgres: Postgres, ledger: Ledger, consumers: ConsumerGroup, seed: int
) -> None:
    generator = random.Random(seed)
    async with asyncio.TaskGroup() as group:
        publishing = group.create_task(ledger.publish(EVENTS, PAUSE_S))
        while not publishing.done():
            await asyncio.sleep(generator.uniform(0.5, 2.0))
            consumers.kill(generator.randrange(2))
    await assert_nothing_lost(postgres, ledger, consumers)


async def test_suspended_consumer_does_not_block_other_consumers(
    postgres: Postgres, ledger: Ledger, consumers: ConsumerGroup
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ledger.publish(EVENTS, PAUSE_S))
        await asyncio.sleep(6)
        consumers.processes[0].send_signal(signal.SIGSTOP)
        await asyncio.sleep(15)
        consumers.processes[0].send_signal(signal.SIGCONT)
    await assert_nothing_lost(postgres, ledger, consumers)


async def test_database_is_killed_twice(postgres: Postgres, ledger: Ledger, consumers: ConsumerGroup) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ledger.publish(EVENTS, PAUSE_S))
        for _ in range(2):
            await asyncio.sleep(5)
            postgres.kill()
            await asyncio.sleep(2)
            postgres.restart()
    await assert_nothing_lost(postgres, ledger, consumers)
    assert all(process.poll() is None for process in consumers.processes), "a consumer exited because of the outage"


async def test_broker_is_killed_twice(
    postgres: Postgres, rabbitmq: RabbitMQ, ledger: Ledger, consumers: ConsumerGroup
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ledger.publish(EVENTS, PAUSE_S))
        for _ in range(2):
            await asyncio.sleep(5)
            rabbitmq.kill()
            rabbitmq.restart()
    await assert_nothing_lost(postgres, ledger, consumers)
    assert all(process.poll() is None for process in consumers.processes), "a consumer exited because of the outage"
