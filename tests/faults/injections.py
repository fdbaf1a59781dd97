"""The nemesis: every failure that the service must survive, with random durations from one seed."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from aio_pika.exceptions import ChannelNotFoundEntity

from service.database.errors import DRIVER_ERRORS
from service.tasks.model import EXPORTS, REPORTS
from tests.faults.proxied_stack import CONSUMERS, ProxiedStack
from tests.faults.small_disks import FILES, POSTGRES, RABBITMQ
from tests.proxies import UnreliableProxy

_TERMINATE_SESSIONS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND usename = 'postgres'"
)

_DAY_S: Final = 24 * 3600
_REFILL_S: Final = 0.2
_ALARM_BYTES: Final = 20 * 2**20  # less than the default of disk_free_limit
_HEALTH_CHECKS: Final = 15
_DECLARED_WITHIN_S: Final = 45

Inject = Callable[[ProxiedStack, Random], Awaitable[None]]
SelectProxies = Callable[[ProxiedStack], Sequence[UnreliableProxy]]


@dataclass(frozen=True)
class Injection:
    """A named failure. `inject` causes it once and returns after the cause is removed."""

    name: str
    inject: Inject
    in_short_form: bool = False
    is_repeated: bool = True  # during one round


async def inject_nothing(stack: ProxiedStack, random: Random) -> None:
    await asyncio.sleep(1)


async def kill(name: str, stack: ProxiedStack, random: Random) -> None:
    await stack.kill(name)


async def kill_consumer(stack: ProxiedStack, random: Random) -> None:
    await stack.kill(random.choice(CONSUMERS))


async def suspend_consumer(stack: ProxiedStack, random: Random) -> None:
    process = stack.programs[random.choice(CONSUMERS)].process
    process.send(signal.SIGSTOP)
    await asyncio.sleep(random.uniform(0.2, 4))
    process.send(signal.SIGCONT)


async def kill_broker(stack: ProxiedStack, random: Random) -> None:
    await asyncio.to_thread(stack.rabbitmq.kill)
    await stack.relaunch(stack.rabbitmq)


async def stop_broker(stack: ProxiedStack, random: Random) -> None:
    await asyncio.to_thread(stack.rabbitmq.process.stop)
    await stack.relaunch(stack.rabbitmq)


async def delete_topology(stack: ProxiedStack, random: Random) -> None:
    """Delete the exchanges and the queues of jobs, which contain no confirmed event, until a process declares them.

    The broker cancels the consumers of these queues.
    """
    topology = stack.topology
    queues = [topology.queue(name) for name in (EXPORTS, REPORTS)]
    async with await stack.connect_to_broker() as connection:
        channel = await connection.channel()
        for name in (topology.runs_exchange, topology.dead_exchange):
            await channel.exchange_delete(name)
        for name in queues:
            await channel.queue_delete(name)
    async with asyncio.timeout(_DECLARED_WITHIN_S):
        while not await _is_declared(stack, queues):  # noqa: ASYNC110 - the state of the broker
            await asyncio.sleep(1)


async def _is_declared(stack: ProxiedStack, queues: Sequence[str]) -> bool:
    async with await stack.connect_to_broker() as connection:
        with contextlib.suppress(ChannelNotFoundEntity):
            channel = await connection.channel()
            for name in (stack.topology.runs_exchange, stack.topology.dead_exchange):
                await channel.get_exchange(name)
            for name in queues:
                await channel.get_queue(name)
            return True
        return False


async def stop_postgres_immediately(stack: ProxiedStack, random: Random) -> None:
    """Stop PostgreSQL as `pg_ctl stop -m immediate` does, so that it needs recovery at the next start."""
    await asyncio.to_thread(stack.postgres.process.stop, signal.SIGQUIT)
    await asyncio.sleep(random.uniform(0, 3))
    await stack.relaunch(stack.postgres)


async def change_clocks(stack: ProxiedStack, random: Random) -> None:
    """Set the clock of all processes days forward, back, and right again. A restart begins all periodic tasks."""
    for days in (random.uniform(1.1, 3), -random.uniform(1.1, 3)):
        stack.set_clocks(days * _DAY_S)
        await stack.kill("reports")
        await asyncio.sleep(random.uniform(1.5, 3))
    stack.set_clocks(0)


async def switch_wal_without_space(stack: ProxiedStack, random: Random) -> None:
    """Fill the disk of PostgreSQL, which exits because it can't create another file of its WAL."""
    disk = stack.disks[POSTGRES]
    await asyncio.to_thread(disk.fill)
    with contextlib.suppress(OSError, *DRIVER_ERRORS):
        connection = await stack.connect()
        while True:
            await connection.execute("SELECT pg_switch_wal(), txid_current()")
    await asyncio.sleep(random.uniform(0, 3))
    disk.clear()
    await stack.relaunch(stack.postgres)


async def disconnect(select: SelectProxies, stack: ProxiedStack, random: Random) -> None:
    """Close all connections and reject new ones for a time."""
    for proxy in select(stack):
        proxy.rejects_connections = True
        proxy.close_connections()
    await asyncio.sleep(random.uniform(0.5, 4))
    _resume(select(stack))


async def reset(select: SelectProxies, stack: ProxiedStack, random: Random) -> None:
    """Reset all connections once. New connections succeed immediately."""
    for proxy in select(stack):
        proxy.close_connections(reset=True)


async def delay(select: SelectProxies, stack: ProxiedStack, random: Random) -> None:
    for proxy in select(stack):
        proxy.delay_s = random.uniform(0.05, 0.4)
    await asyncio.sleep(random.uniform(1, 4))
    _resume(select(stack))


async def stall(select: SelectProxies, stack: ProxiedStack, random: Random) -> None:
    """Make all connections half-open, permanently, and also those that are opened during the next seconds."""
    for proxy in select(stack):
        proxy.stall_connections()
        proxy.stalls_new_connections = True
    await asyncio.sleep(random.uniform(1, 3))
    _resume(select(stack))


async def combine(stack: ProxiedStack, random: Random) -> None:
    """Cause three different failures of PostgreSQL and RabbitMQ at the same time."""
    servers: list[SelectProxies] = [lambda stack: [stack.postgres_proxy], lambda stack: [stack.rabbitmq_proxy]]
    failures: list[Inject] = [partial(fail, select) for fail in (stall, reset, disconnect) for select in servers]
    chosen = random.sample([*failures, kill_broker, stop_postgres_immediately], 3)
    await asyncio.gather(*(_delayed(failure, stack, random) for failure in chosen))


async def _delayed(failure: Inject, stack: ProxiedStack, random: Random) -> None:
    await asyncio.sleep(random.uniform(0, 3))
    await failure(stack, random)


def _resume(proxies: Sequence[UnreliableProxy]) -> None:
    for proxy in proxies:
        proxy.resume()


async def kill_consumers_without_database(stack: ProxiedStack, random: Random) -> None:
    """Kill the consumers after they received messages that they can't commit."""
    proxy = stack.postgres_proxy
    proxy.rejects_connections = True
    proxy.close_connections()
    await asyncio.sleep(random.uniform(0.5, 2))
    for name in CONSUMERS:
        await stack.kill(name)
    proxy.resume()


async def make_database_read_only(stack: ProxiedStack, random: Random) -> None:
    """Reject all writes and end all sessions, before and after, as a failover to a standby does."""
    connection = await stack.connect()
    await connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    await connection.execute(_TERMINATE_SESSIONS)
    await asyncio.sleep(random.uniform(1, 5))
    await connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    await connection.execute(_TERMINATE_SESSIONS)
    await connection.close()


async def change_password(stack: ProxiedStack, random: Random) -> None:
    """Change the password of the service for some seconds, and end all sessions."""
    connection = await stack.connect()
    await connection.execute("ALTER ROLE postgres PASSWORD 'changed'")
    await connection.execute(_TERMINATE_SESSIONS)
    await asyncio.sleep(random.uniform(1, 5))
    await connection.execute(f"ALTER ROLE postgres PASSWORD '{stack.postgres.password}'")
    await connection.close()


async def fill_disk(name: str, stack: ProxiedStack, random: Random) -> None:
    """Leave no free space on the disk for a time. Start the servers again, as a service manager does."""
    disk, deadline = stack.disks[name], asyncio.get_running_loop().time() + random.uniform(2, 5)
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.to_thread(disk.fill)  # repeated, because a server can also free space
        await asyncio.sleep(_REFILL_S)
    disk.clear()
    await stack.relaunch(stack.postgres)
    await stack.relaunch(stack.rabbitmq)
    await _restart_unhealthy_broker(stack)


async def raise_disk_alarm(stack: ProxiedStack, random: Random) -> None:
    """Leave less space than RabbitMQ requires. It then blocks all publishers."""
    disk = stack.disks[RABBITMQ]
    await asyncio.to_thread(disk.fill, _ALARM_BYTES)
    await asyncio.sleep(random.uniform(12, 15))  # RabbitMQ checks the space every 10 s
    disk.clear()


async def _restart_unhealthy_broker(stack: ProxiedStack) -> None:
    """Restart a broker that runs and rejects clients, as the supervisor does."""
    for _ in range(_HEALTH_CHECKS):
        if await asyncio.to_thread(stack.rabbitmq.is_healthy):
            return
        await asyncio.sleep(1)
    await asyncio.to_thread(stack.rabbitmq.process.stop)
    await stack.relaunch(stack.rabbitmq)


def _network_failures(server: str, select: SelectProxies) -> list[Injection]:
    return [
        Injection(f"{server}: disconnected", partial(disconnect, select)),
        Injection(f"{server}: connections reset", partial(reset, select)),
        Injection(f"{server}: delayed", partial(delay, select)),
        Injection(f"{server}: half-open", partial(stall, select), is_repeated=False),
    ]


INJECTIONS: Final = (
    Injection("none", inject_nothing),
    Injection("consumer: SIGKILL", kill_consumer, in_short_form=True),
    Injection("consumer: SIGSTOP, SIGCONT", suspend_consumer),
    Injection("consumers: SIGKILL without database", kill_consumers_without_database, in_short_form=True),
    Injection("webhooks: SIGKILL", partial(kill, "webhooks")),
    Injection("relay: SIGKILL", partial(kill, "relay")),
    Injection("reports: SIGKILL", partial(kill, "reports")),
    Injection("API: SIGKILL", partial(kill, "api")),
    Injection("clocks: changed by days", change_clocks, in_short_form=True),
    Injection("RabbitMQ: SIGKILL", kill_broker, in_short_form=True),
    Injection("RabbitMQ: stopped", stop_broker),
    Injection("RabbitMQ: deleted topology", delete_topology, is_repeated=False),
    Injection("PostgreSQL: immediate stop", stop_postgres_immediately, in_short_form=True),
    Injection("PostgreSQL: read-only", make_database_read_only),
    Injection("PostgreSQL: changed password", change_password),
    *_network_failures("PostgreSQL", lambda stack: [stack.postgres_proxy]),
    *_network_failures("RabbitMQ", lambda stack: [stack.rabbitmq_proxy]),
    Injection("PostgreSQL, RabbitMQ: three failures", combine),
    *_network_failures("storage", lambda stack: stack.files.proxies),
    *_network_failures("receivers", lambda stack: list(stack.receiver_proxies.values())),
)

DISK_INJECTIONS: Final = (  # of a stack with small disks
    Injection("storage: full disk", partial(fill_disk, FILES)),
    Injection("PostgreSQL: full disk", partial(fill_disk, POSTGRES)),
    Injection("PostgreSQL: full disk for the WAL", switch_wal_without_space),
    Injection("RabbitMQ: disk alarm", raise_disk_alarm, is_repeated=False),
    Injection("RabbitMQ: full disk", partial(fill_disk, RABBITMQ), is_repeated=False),
)
