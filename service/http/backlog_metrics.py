"""Gauges of the backlogs in the database, sampled when Prometheus scrapes the process."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from service.database.database import Pool, Row
from service.database.errors import is_outage
from service.log import log
from service.tasks import store as tasks_store
from service.tasks.model import CONSUMER_ROLES

MAX_ROWS: Final = 10_000  # per kind of row, so that the cost of a sample is limited
_SAMPLE_INTERVAL_S: Final = 5.0
_TIMEOUT_S: Final = 3.0


class _Gauge(NamedTuple):
    """A gauge. `columns` maps each value of its label, or an empty string without a label, to a column."""

    name: str
    help: str
    columns: Mapping[str, str]
    label: str | None = None


GAUGES: Final = (
    _Gauge("results_outbox_messages", "Messages in the outbox", {"": "messages"}),
    _Gauge("results_outbox_oldest_age_seconds", "Age of the oldest outbox message", {"": "oldest_message_s"}),
    _Gauge("results_deliveries_due", "Webhook deliveries that can be attempted now", {"": "deliveries"}),
    _Gauge(
        "results_deliveries_oldest_due_age_seconds", "Time since the oldest due delivery became due",
        {"": "oldest_delivery_s"},
    ),
    _Gauge(
        "results_exports_open", "Unfinished exports",
        {"queued": "exports_queued", "running": "exports_running"}, "status",
    ),
    _Gauge(
        "results_reports_open", "Unprocessed reports",
        {"queued": "reports_queued", "processing": "reports_processing"}, "status",
    ),
    _Gauge("results_embedded_dead_letters", "Dead letters of the embedded queue", {"": "dead_letters"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BacklogSample:
    """The metrics of one sample, as a collector of prometheus_client."""

    metrics: Sequence[Metric]

    def collect(self) -> Sequence[Metric]:
        return self.metrics


class BacklogMetrics:
    """Samples the backlogs at most once per interval. `pool` has the role results_worker, which sees all rows."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._query: asyncio.Task[BacklogSample] | None = None
        self._started_at = 0.0

    async def sample(self) -> BacklogSample:
        """Return whether the database responds and, if it does, its backlogs."""
        is_old = time.monotonic() - self._started_at > _SAMPLE_INTERVAL_S
        if self._query is None or (self._query.done() and is_old):
            self._query, self._started_at = asyncio.create_task(self._run_query()), time.monotonic()
        done, _ = await asyncio.wait({self._query}, timeout=_TIMEOUT_S)
        return self._query.result() if done else BacklogSample([_database_up(0)])

    async def _run_query(self) -> BacklogSample:
        try:
            async with self._pool.acquire() as connection:
                found = await tasks_store.find_backlogs(connection, MAX_ROWS)
                roles = await tasks_store.find_heartbeats(connection, CONSUMER_ROLES)
        except Exception as error:  # the scrape must return the other metrics in any case
            if not is_outage(error):
                log.exception("backlog_query_failed")
            return BacklogSample([_database_up(0)])
        return BacklogSample([_database_up(1), *(_gauge(gauge, found) for gauge in GAUGES), *_worker_gauges(roles)])


def _database_up(value: int) -> Metric:
    return GaugeMetricFamily("results_database_up", "1 if the database responded to the last sample, else 0", value)


def _gauge(gauge: _Gauge, found: Row) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label] if gauge.label else [])
    for value, column in gauge.columns.items():
        family.add_metric([value] if gauge.label else [], found[column] or 0)
    return family


def _worker_gauges(roles: Sequence[Row]) -> list[Metric]:
    workers = GaugeMetricFamily("results_workers", "Running consumers per role", labels=["role"])
    ages = GaugeMetricFamily(
        "results_heartbeat_age_seconds", "Age of the latest heartbeat of a consumer per role", labels=["role"]
    )
    for role, count, age_s in roles:
        workers.add_metric([role], count)
        if age_s is not None:
            ages.add_metric([role], age_s)
    return [workers, ages]
