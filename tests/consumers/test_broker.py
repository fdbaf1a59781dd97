"""Tests of the connection to RabbitMQ: it reconnects after each loss without leaking tasks."""

import asyncio

from prometheus_client import REGISTRY

from consumers.broker import run_on_broker
from consumers.topology import Topology
from service.dev.ports import choose_port
from tests.consumers.conftest import until
from tests.running import running


def losses() -> float:
    return REGISTRY.get_sample_value("results_broker_losses_total") or 0.0


async def test_broker_losses_leak_no_tasks() -> None:
    stopping, losses_before = asyncio.Event(), losses()
    unused = f"amqp://127.0.0.1:{choose_port()}/"
    tasks_before = asyncio.all_tasks()
    async with running(stopping, run_on_broker(unused, Topology(), [], stopping)):

        async def lost_three_times() -> bool:
            return losses() - losses_before >= 3

        await until(lost_three_times, "three losses of the broker")
        waiting = [task for task in asyncio.all_tasks() - tasks_before if "Event.wait" in repr(task.get_coro())]
        assert len(waiting) <= 1
