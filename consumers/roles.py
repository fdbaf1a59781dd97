"""What a consumer process can be: each role by name, with the queues and loops that it adds to the process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import asyncpg

from consumers.broker import OnBroker
from consumers.loops import Loop
from consumers.relay import Relay
from consumers.runs import runs_handler
from consumers.topology import Topology
from consumers.worker import Handler
from service.settings import Settings
from service.usecases.ingest_runs import RunIngest

Role: TypeAlias = str  # a key of ROLES


@dataclass(frozen=True, slots=True)
class Tools:
    """What a process has for its roles."""

    settings: Settings
    pool: asyncpg.Pool  # as results_worker
    topology: Topology
    stopping: asyncio.Event
    opened: AsyncExitStack  # closes what a role opens for itself, at the end


@dataclass(frozen=True, slots=True)
class Work:
    """What a role adds to its process. A queue gets so many lanes on the broker; without one, the outbox serves it."""

    queues: Mapping[str, Handler] = field(default_factory=dict)
    lanes: int = 1
    on_broker: Sequence[OnBroker] = ()
    loops: Sequence[Loop] = ()


async def _runs(tools: Tools) -> Work:
    ingest = RunIngest(tools.pool, tools.settings.retention, tools.settings.link_base)
    return Work({"results.runs": runs_handler(ingest)}, lanes=tools.settings.consumer_lanes)


async def _relay(tools: Tools) -> Work:
    return Work(on_broker=[Relay(tools.pool, tools.topology, tools.stopping)])


ROLES: Final[Mapping[Role, Callable[[Tools], Awaitable[Work]]]] = {
    "runs": _runs,
    "relay": _relay,
}
