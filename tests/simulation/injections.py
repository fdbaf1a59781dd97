"""Failures of the servers, and of the network between them and the processes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.simulation.world import World

Injection = Callable[["World"], Awaitable[None]]

_MAX_INJECTIONS: Final = 6
_PERIODS_S: Final = (3.0, 40.0)  # in which all failures of a simulation start
_LATEST_START_S: Final = 30.0  # of the period
_NOTIFICATION_S: Final = 0.1


async def inject_failures(world: "World") -> None:
    """Inject some failures at random times, which can overlap. When this returns, all have ended."""
    rng = world.rng
    failures = rng.choices(list(_INJECTIONS), weights=list(_INJECTIONS.values()), k=rng.randint(0, _MAX_INJECTIONS))
    if rng.random() < 0.3:
        failures.append(kill_process)  # one, because a second one could interrupt the same message
    first_s, period_s = rng.uniform(0, _LATEST_START_S), rng.choice(_PERIODS_S)
    await asyncio.gather(*(_inject(world, inject, first_s + rng.uniform(0, period_s)) for inject in failures))
    world.events.resume()


async def _inject(world: "World", inject: Injection, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await inject(world)


async def reset_connections(world: "World") -> None:
    for process in world.processes:
        for connection in process.connections:
            connection.reset()


async def reset_repeatedly(world: "World") -> None:
    for _ in range(world.rng.randint(2, 12)):
        await reset_connections(world)
        await asyncio.sleep(world.rng.uniform(0.1, 6))


async def stall_connections(world: "World") -> None:
    """Stall for a short or long time, or indefinitely, so that a connection stays half-open."""
    rng = world.rng
    duration_s = rng.choice((rng.uniform(0, 5), rng.uniform(5, 60), 1e9))
    for process in world.processes:
        for connection in process.connections:
            connection.stall(duration_s, client_notices=rng.random() < 0.5)
    await asyncio.sleep(min(duration_s, 60))


async def stop_broker(world: "World") -> None:
    world.broker.is_down = True
    await reset_connections(world)
    await asyncio.sleep(world.rng.uniform(0.1, 30))
    world.broker.is_down = False


async def lose_subscriptions(world: "World") -> None:
    """End some subscriptions without a notification."""
    for session in world.broker.sessions:
        if world.rng.random() < 0.7:
            session.cancel(returns_messages=False, notifies=False)


async def cancel_consumer(world: "World") -> None:
    """Cancel one subscription with a notification, while other processes can consume the same queue.

    Soon after the notification, the process must not count as a consumer, unless it has subscribed again.
    """
    subscribed = [session for session in world.broker.sessions if session.consumer]
    if not subscribed:
        return
    session = world.rng.choice(subscribed)
    session.cancel(returns_messages=world.rng.random() < 0.5, notifies=True)
    await asyncio.sleep(_NOTIFICATION_S)
    for process in world.processes:
        if process.believes_in(session):
            world.violations.append(f"{process.name} counts as a consumer after its cancellation")


async def reject_statements(world: "World") -> None:
    world.events.is_rejecting = True
    await asyncio.gather(asyncio.sleep(world.rng.uniform(0.1, 30)), _interrupt(world))
    world.events.is_rejecting = False


async def stall_statements(world: "World") -> None:
    world.events.stall()
    duration_s = world.rng.choice((world.rng.uniform(0.1, 20), world.rng.uniform(20, 150)))
    await asyncio.gather(asyncio.sleep(duration_s), _interrupt(world))
    world.events.resume()


async def _interrupt(world: "World") -> None:
    """Interrupt the work of processes that wait for the store, or do nothing."""
    await asyncio.sleep(world.rng.uniform(0, 10))
    await world.rng.choice((_do_nothing, stop_process, reset_connections))(world)


async def _do_nothing(_: "World") -> None: ...


async def slow_statements(world: "World") -> None:
    world.events.slowness = world.rng.uniform(10, 200)
    await asyncio.sleep(world.rng.uniform(5, 60))
    world.events.slowness = 1.0


async def lose_responses(world: "World") -> None:
    world.events.losses = world.rng.uniform(0.05, 0.5)
    await asyncio.sleep(world.rng.uniform(1, 20))
    world.events.losses = 0.0


async def lock_runs(world: "World") -> None:
    world.events.is_locked = True
    await asyncio.sleep(world.rng.uniform(1, 20))
    world.events.is_locked = False


async def stop_process(world: "World") -> None:
    if world.processes:
        await world.stop(world.rng.choice(world.processes))


async def kill_process(world: "World") -> None:
    if world.processes:
        world.rng.choice(world.processes).crash()


_INJECTIONS: Final[dict[Injection, int]] = {
    reset_connections: 3,
    reset_repeatedly: 3,
    stall_connections: 4,
    stop_broker: 2,
    lose_subscriptions: 2,
    cancel_consumer: 3,
    reject_statements: 2,
    stall_statements: 4,
    slow_statements: 4,
    lose_responses: 2,
    lock_runs: 2,
    stop_process: 3,
}
