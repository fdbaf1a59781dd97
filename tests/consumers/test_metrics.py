"""Tests of the Prometheus metrics of consumers. Each process serves them on its own port."""

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
from consumers.loops import PeriodicTask, periodic_loops
from consumers.topology import Topology
from service.dev.ports import choose_port
from service.version import find_build
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker, until
from tests.receivers import receiving
from tests.report_api import PASSING
from tests.run_events import result, run_event
from tests.running import running
from tests.scraped import families, total
from tests.served import Api, serve

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


async def scrape_until(port: int, count: float, name: str, **labels: str) -> str:
    """Scrape until the metric has this value, and return the text."""
    text = ""

    async def has_value() -> bool:
        nonlocal text
        text = await scrape(port)
        return total(text, name, **labels) == count

    await until(has_value, f"{count} {name} {labels}")
    return text


async def test_events_are_counted_by_outcome(api: Api, broker: Broker, database_url: str) -> None:
    port = choose_port()
    stored, invalid = run_event("run_1", [result("one"), result("two")]), run_event("run_2", [{"status": "passed"}])
    partial = run_event("run_3", [result("one"), {"status": "passed"}])
    with consumer(database_url, broker.url, broker.topology, "runs", metrics_port=str(port)):
        await broker.publish(stored, invalid, partial)
        await scrape_until(port, 3, "results_batch_events_sum")
        await broker.publish(stored, b"not json")
        await scrape_until(port, 5, "results_batch_events_sum")
        text = await scrape_until(port, 2, "results_dead_letters_total", queue=broker.topology.runs_queue)
    assert total(text, "results_build_info", **find_build()) == 1
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
async def test_jobs_and_deliveries_are_measured_by_status(
    api: Api, broker: Broker, database_url: str, tmp_path: Path
) -> None:
    port = choose_port()
    settings = {"artifacts_url": tmp_path.as_uri(), "webhook_allow_loopback": "true", "metrics_port": str(port)}
    with consumer(database_url, broker.url, broker.topology, *ALL, **settings):
        async with receiving(500, 200) as receiver:
            await api.send("POST", "/v1/webhooks", json={"url": receiver.url, "events": ["run.completed"]})
            await send_report(api, PASSING)
            await send_report(api, b"<no-report/>")
            await api.send("POST", "/v1/results/export", json={"format": "csv"})
            await scrape_until(port, 1, "results_export_seconds_count", status="succeeded")
            await scrape_until(port, 1, "results_delivery_seconds_count", status="pending")
            await scrape_until(port, 1, "results_delivery_seconds_count", status="delivered")
            text = await scrape_until(port, 1, "results_report_seconds_count", status="rejected")
    assert total(text, "results_report_seconds_count", status="stored") == 1
    assert total(text, "results_stored_total", origin="reports") == 2
    assert total(text, "results_outbox_sent_total") == 3
    assert 'results_periodic_task_failures_total{task="expired_events"} 0.0' in text
    assert "results_broker_losses_total 0.0" in text


async def send_report(api: Api, report: bytes) -> None:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with api.http.post("/v1/runs/run_1/report?project_id=shop", data=report, headers=headers) as response:
        assert response.status == 202


@pytest.mark.slow
async def test_metrics_are_the_same_without_a_broker(api: Api, database_url: str, tmp_path: Path) -> None:
    port = choose_port()
    await send_report(api, PASSING)
    settings = {"artifacts_url": tmp_path.as_uri(), "metrics_port": str(port)}
    with consumer(database_url, "", Topology(""), "reports", **settings):
        text = await scrape_until(port, 1, "results_report_seconds_count", status="stored")
    assert total(text, "results_outbox_sent_total") == 1


async def test_port_in_use_is_a_clear_error(database_url: str) -> None:
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


async def test_broker_losses_and_failed_tasks_are_counted(broker: Broker) -> None:
    async def fail() -> None:
        raise KeyError("a bug")

    async def run_tasks() -> None:
        await asyncio.gather(*(loop() for loop in periodic_loops([PeriodicTask("fails", 0.01, fail)], stopping)))

    before, stopping = local_metrics(), asyncio.Event()
    unused = f"amqp://127.0.0.1:{choose_port()}/"
    async with running(stopping, run_tasks(), run_on_broker(unused, broker.topology, [], stopping)):

        async def both_increased() -> bool:
            failures = increased_twice("results_periodic_task_failures_total", task="fails")
            return failures and increased_twice("results_broker_losses_total")

        def increased_twice(name: str, **labels: str) -> bool:
            return total(local_metrics(), name, **labels) >= total(before, name, **labels) + 2

        await until(both_increased, "two broker losses and two failed tasks")


def local_metrics() -> str:
    """Return the metrics of this process."""
    return generate_latest(REGISTRY).decode()


def test_metric_names_follow_the_prometheus_conventions() -> None:
    names = {name for name in families(local_metrics()) if name.startswith("results_")}
    assert len(names) > 10
    assert all(name.endswith(("_total", "_seconds", "_events")) for name in names)
