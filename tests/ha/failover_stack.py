"""All processes of the service with a RabbitMQ cluster and a PostgreSQL standby, and the failures of their leaders."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.proxied_stack import ServiceStack, running
from tests.ha.rabbitmq_cluster import RabbitMQCluster, rabbitmq_cluster
from tests.ha.replicated_postgres import ReplicatedPostgres, replicated_postgres

_SUSPENDED_S: Final = 80.0  # longer than every timeout of the service, and than the net tick time of RabbitMQ


class FailoverStack(ServiceStack):
    """The processes of the service. Their URLs list all servers."""

    def __init__(self, directory: Path, postgres: ReplicatedPostgres, rabbitmq: RabbitMQCluster) -> None:
        super().__init__(directory)
        self.postgres = postgres
        self.rabbitmq = rabbitmq
        self.failovers = 0

    @property
    def direct_database_url(self) -> str:
        return self.postgres.url

    @property
    def direct_amqp_url(self) -> str:
        return self.rabbitmq.url


@dataclass(frozen=True)
class Failover:
    """A failure of the server that accepts the writes. Another one replaces it."""

    name: str
    inject: Callable[[FailoverStack, Random], Awaitable[None]]
    is_repeated: bool = True  # during one round


async def inject_nothing(stack: FailoverStack, random: Random) -> None:
    await asyncio.sleep(1)


async def kill_queue_leader(stack: FailoverStack, random: Random) -> None:
    """Kill the node with the leader of the queue of events. Start it again after another node is the leader."""
    queue = stack.topology.runs_queue
    leader = await stack.rabbitmq.leader(queue)
    await asyncio.to_thread(leader.kill)
    await stack.rabbitmq.leader(queue, other_than=leader)
    await asyncio.sleep(random.uniform(0, 5))
    await stack.relaunch(leader)
    await stack.rabbitmq.await_replicas()
    stack.failovers += 1


async def kill_primary(stack: FailoverStack, random: Random) -> None:
    """Kill the primary, promote the standby, and add the killed server as the new standby."""
    await asyncio.to_thread(stack.postgres.primary.kill)
    await asyncio.sleep(random.uniform(0, 5))
    await stack.postgres.promote_standby()
    await asyncio.sleep(random.uniform(0, 2))
    await stack.postgres.add_standby()
    stack.failovers += 1


async def suspend_queue_leader(stack: FailoverStack, random: Random) -> None:
    """Suspend the node with the leader of the queue of events. Restart it after the others have noticed."""
    leader = await stack.rabbitmq.leader(stack.topology.runs_queue)
    leader.process.send(signal.SIGSTOP)
    await asyncio.sleep(_SUSPENDED_S)
    await asyncio.to_thread(leader.kill)
    await stack.relaunch(leader)
    await stack.rabbitmq.await_replicas()
    stack.failovers += 1


async def suspend_primary(stack: FailoverStack, random: Random) -> None:
    """Suspend the primary and promote the standby. Kill the suspended server after the service has recovered."""
    suspended = stack.postgres.primary
    suspended.suspend()
    await asyncio.sleep(random.uniform(0, 5))
    await stack.postgres.promote_standby()
    await asyncio.sleep(_SUSPENDED_S)
    await asyncio.to_thread(suspended.kill)
    await stack.postgres.add_standby()
    stack.failovers += 1


FAILOVERS: Final = (
    Failover("none", inject_nothing),
    Failover("RabbitMQ: leader SIGKILL", kill_queue_leader),
    Failover("PostgreSQL: primary SIGKILL", kill_primary),
    Failover("RabbitMQ: leader SIGSTOP", suspend_queue_leader, is_repeated=False),
    Failover("PostgreSQL: primary SIGSTOP", suspend_primary, is_repeated=False),
)


@asynccontextmanager
async def failover_stack(directory: Path) -> AsyncIterator[FailoverStack]:
    """Run the servers and processes while the block runs. Each queue has a member on each node."""
    async with AsyncExitStack() as opened:
        rabbitmq = opened.enter_context(rabbitmq_cluster(directory / "rabbitmq"))
        postgres = await opened.enter_async_context(replicated_postgres(directory / "postgres"))
        stack = FailoverStack(directory, postgres, rabbitmq)
        await opened.enter_async_context(running(stack))
        await rabbitmq.await_replicas()
        yield stack
