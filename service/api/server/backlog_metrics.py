"""Backlogs as gauges: what waits in the database, as the last look at it found it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from service.domain.queues import CONSUMER_ROLES
from service.log import log
from service.store import backlogs, heartbeats
from service.store.postgres.database import Pool, Row, is_outage

LOOKED_AT: Final = 10_000  # rows of each kind, so that a look is cheap however much waits
_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 3.0


class _Gauge(NamedTuple):
    """A gauge, its label if it has one, and the column behind each value of that label."""

    name: str
    said: str
    columns: Mapping[str, str]
    label: str | None = None


_WAITING: Final = (
    _Gauge("results_outbox_messages", "Messages that wait to be sent to the consumers", {"": "messages"}),
    _Gauge("results_outbox_oldest_age_seconds", "For how long the oldest of them has waited", {"": "oldest_message_s"}),
    _Gauge("results_deliveries_due", "Deliveries that could be attempted now", {"": "deliveries"}),
    _Gauge(
        "results_deliveries_oldest_due_age_seconds", "For how long one of them has been due", {"": "oldest_delivery_s"}
    ),
    _Gauge(
        "results_exports_open", "Exports that are not over",
        {"queued": "exports_queued", "running": "exports_running"}, "status",
    ),
    _Gauge(
        "results_reports_open", "Reports that are not over",
        {"queued": "reports_queued", "processing": "reports_processing"}, "status",
    ),
    _Gauge("results_embedded_dead_letters", "Dead letters where there is no broker to keep them", {"": "dead_letters"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found, as prometheus_client collects it."""

    metrics: Sequence[Metric]

    def collect(self) -> Sequence[Metric]:
        return self.metrics


class Backlogs:
    """Looks when it is asked, unless it has only just looked. `pool` is one of results_worker, which sees all rows."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._looking: asyncio.Task[Look] | None = None
        self._looked_at = 0.0

    async def look(self) -> Look:
        """Whether the database answers and, if it does, what waits in it."""
        if self._looking is None or (self._looking.done() and time.monotonic() - self._looked_at > _EVERY_S):
            self._looking, self._looked_at = asyncio.create_task(self._look()), time.monotonic()
        done, _ = await asyncio.wait({self._looking}, timeout=_PATIENCE_S)
        return self._looking.result() if done else Look([_up(0)])

    async def _look(self) -> Look:
        try:
            async with self._pool.acquire() as connection:
                found = await backlogs.find(connection, LOOKED_AT)
                signs = await heartbeats.find_heartbeats(connection, CONSUMER_ROLES)
        except Exception as error:  # whatever it is, the other metrics are answered
            if not is_outage(error):
                log.exception("backlogs_not_read")
            return Look([_up(0)])
        return Look([_up(1), *(_gauge(each, found) for each in _WAITING), *_lives(signs)])


def _up(value: int) -> Metric:
    return GaugeMetricFamily("results_database_up", "1 where the database answered the last look at it", value)


def _gauge(gauge: _Gauge, found: Row) -> Metric:
    family = GaugeMetricFamily(gauge.name, gauge.said, labels=[gauge.label] if gauge.label else [])
    for value, column in gauge.columns.items():
        family.add_metric([value] if gauge.label else [], found[column] or 0)
    return family


def _lives(signs: Sequence[Row]) -> list[Metric]:
    workers = GaugeMetricFamily("results_workers", "Consumers of this role that are alive", labels=["role"])
    silence = GaugeMetricFamily(
        "results_heartbeat_age_seconds", "Since the last sign of life of a consumer of this role", labels=["role"]
    )
    for role, count, heartbeat_age_s in signs:
        workers.add_metric([role], count)
        if heartbeat_age_s is not None:
            silence.add_metric([role], heartbeat_age_s)
    return [workers, silence]
