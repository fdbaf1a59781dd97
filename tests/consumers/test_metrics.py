"""What consumers tell Prometheus of their work, each process on a port of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession
from prometheus_client import REGISTRY, generate_latest

from consumers.broker import run_on_broker
from consumers.topology import Topology
from consumers.upkeep import PeriodicTask, periodic_loops
from service.dev.ports import choose_port
from tests.api.served import Api, serve
from tests.consumers.conftest import Broker, until
from tests.consumers.processes import consumer
from tests.receivers import receiving
from tests.report_api import PASSING
from tests.run_events import result, run_event
from tests.running import running
from tests.scraped import families, total

ALL = ("runs", "reports", "exports", "webhooks", "relay", "upkeep")


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serve(database_url, artifacts_url=tmp_path.as_uri(), webhook_allow_loopback=True) as served:
        yield served


async def scrape(port: int) -> str:
    try:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
            return await response.text()
    except ClientConnectionError:
        return ""


async def told(port: int, count: float, name: str, **labels: str) -> str:
    """The scrape that tells of so many."""
    text = ""

    async def is_told() -> bool:
        nonlocal text
        text = await scrape(port)
        return total(text, name, **labels) == count

    await until(is_told, f"{count} {name} {labels}")
    return text


async def test_events_are_told_of_by_what_became_of_them(api: Api, broker: Broker, database_url: str) -> None:
    port = choose_port()
    stored, invalid = run_event("run_1", [result("one"), result("two")]), run_event("run_2", [{"name": "no status"}])
    partial = run_event("run_3", [result("one"), {"name": "no status"}])
    with consumer(database_url, broker.url, broker.topology, "runs", metrics_port=str(port)):
        await broker.publish(stored, invalid, partial)
        await told(port, 3, "results_batch_events_sum")
        await broker.publish(stored, b"not json")
        await told(port, 5, "results_batch_events_sum")
        text = await told(port, 2, "results_dead_letters_total", queue=broker.topology.runs_queue)
    for outcome, count in (("stored", 1), ("partial", 1), ("duplicate", 1), ("rejected", 2)):
        assert total(text, "results_events_total", outcome=outcome) == count
    assert total(text, "results_stored_total", origin="events") == 3
    assert total(text, "results_batch_seconds_count") == total(text, "results_batch_events_count") <= 5
    assert 0 < total(text, "results_batch_seconds_sum") < 20
    queue = broker.topology.runs_queue
    assert total(text, "results_dead_letters_total", queue=queue, reason="not_json") == 1
    assert total(text, "results_dead_letters_total", queue=queue) == 2
    assert not {"acme", "shop", "run_1"} & set(text.replace('"', " ").split())


@pytest.mark.slow
async def test_jobs_and_deliveries_are_told_of(api: Api, broker: Broker, database_url: str, tmp_path: Path) -> None:
    port = choose_port()
    settings = {"artifacts_url": tmp_path.as_uri(), "webhook_allow_loopback": "true", "metrics_port": str(port)}
    with consumer(database_url, broker.url, broker.topology, *ALL, **settings):
        async with receiving(500, 200) as receiver:
            await api.send("POST", "/v1/webhooks", json={"url": receiver.url, "events": ["run.completed"]})
            await send_report(api, PASSING)
            await send_report(api, b"<no-report/>")
            await api.send("POST", "/v1/results/export", json={"format": "csv"})
            await told(port, 1, "results_export_seconds_count", status="succeeded")
            await told(port, 1, "results_delivery_seconds_count", status="pending")
            await told(port, 1, "results_delivery_seconds_count", status="delivered")
            text = await told(port, 1, "results_report_seconds_count", status="rejected")
    assert total(text, "results_report_seconds_count", status="stored") == 1
    assert total(text, "results_stored_total", origin="reports") == 2
    assert total(text, "results_outbox_sent_total") == 3
    assert 'results_chore_failures_total{chore="expired_events"} 0.0' in text
    assert "results_broker_losses_total 0.0" in text


async def send_report(api: Api, report: bytes) -> None:
    sent = {"Authorization": f"Bearer {api.key}"}
    async with api.http.post("/v1/runs/run_1/report?project_id=shop", data=report, headers=sent) as response:
        assert response.status == 202


async def test_without_a_broker_the_same_is_told(api: Api, database_url: str, tmp_path: Path) -> None:
    port = choose_port()
    await send_report(api, PASSING)
    settings = {"artifacts_url": tmp_path.as_uri(), "metrics_port": str(port)}
    with consumer(database_url, "", Topology(""), "reports", **settings):
        text = await told(port, 1, "results_report_seconds_count", status="stored")
    assert total(text, "results_outbox_sent_total") == 1


async def test_a_taken_port_is_a_clear_error(database_url: str) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = {"RESULTS_DATABASE_URL": database_url, "RESULTS_METRICS_PORT": str(port)}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "consumers", "upkeep"], env={**os.environ, **settings},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    server.close()
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"Error: RESULTS_METRICS_PORT: 127.0.0.1:{port}: Address already in use"]


async def test_losses_of_the_broker_and_failures_of_chores_count(broker: Broker) -> None:
    async def fail() -> None:
        raise KeyError("a bug")

    async def keep_up() -> None:
        await asyncio.gather(*(loop() for loop in periodic_loops([PeriodicTask("fails", 0.01, fail)], stopping)))

    before, stopping = here(), asyncio.Event()
    nobody = f"amqp://127.0.0.1:{choose_port()}/"
    async with running(stopping, keep_up(), run_on_broker(nobody, broker.topology, [], stopping)):

        async def both() -> bool:
            return gained("results_chore_failures_total", chore="fails") and gained("results_broker_losses_total")

        def gained(name: str, **labels: str) -> bool:
            return total(here(), name, **labels) >= total(before, name, **labels) + 2

        await until(both, "failures")


def here() -> str:
    """What this process has counted."""
    return generate_latest(REGISTRY).decode()


def test_names_follow_the_conventions_of_prometheus() -> None:
    ours = {name for name in families(here()) if name.startswith("results_")}
    assert len(ours) > 10
    assert all(name.endswith(("_total", "_seconds", "_events")) for name in ours)
