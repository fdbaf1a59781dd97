"""Prometheus metrics of the consumers, and the port that serves them. No label identifies a tenant."""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar, get_args

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from service.domain.errors import ServiceError
from service.exports.run_export import ExportOutcome
from service.ingest.batch_items import EventOutcome, EventStatus
from service.reports.store_report import ReportOutcome, ReportStatus
from service.version import find_commit, find_version
from service.webhooks.deliver_events import AttemptedDelivery
from service.webhooks.model import DeliveryStatus

disable_created_metrics()  # they would double the number of samples

_TASK_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_POST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

_EVENTS: Final = Counter("results_events_total", "Run-completion events processed, by outcome", ("outcome",))
_STORED: Final = Counter("results_stored_total", "Results stored from events and reports, by origin", ("origin",))
_BATCH_SIZE: Final = Histogram("results_batch_events", "Events in one batch", buckets=(1, 2, 5, 10, 20, 50))
_BATCHES: Final = Histogram("results_batch_seconds", "Time to store one batch of events", buckets=_BATCH_SECONDS)
_REPORTS: Final = Histogram(
    "results_report_seconds", "Duration of attempts to ingest a report, by resulting status", ("status",),
    buckets=_TASK_SECONDS,
)  # fmt: skip
_EXPORTS: Final = Histogram(
    "results_export_seconds", "Duration of attempts to run an export, by resulting status", ("status",),
    buckets=_TASK_SECONDS,
)  # fmt: skip
_DELIVERIES: Final = Histogram(
    "results_delivery_seconds", "Duration of webhook attempts, by resulting status of the delivery", ("status",),
    buckets=_POST_SECONDS,
)  # fmt: skip
DEAD_LETTERS: Final = Counter(
    "results_dead_letters_total", "Messages moved to the dead letters, by queue and reason", ("queue", "reason")
)
LARGE_MESSAGES: Final = Counter("results_large_messages_total", "Messages moved to the queue for large messages")
RELAYED: Final = Counter("results_outbox_sent_total", "Outbox messages published to the broker or handled")
BROKER_LOSSES: Final = Counter("results_broker_losses_total", "Lost or failed connections to RabbitMQ")
TASK_FAILURES: Final = Counter(
    "results_periodic_task_failures_total",
    "Failed runs of a periodic maintenance task",
    ("task",),
)

_BUILD: Final = Gauge("results_build_info", "Version and commit of the process", ("version", "commit"), registry=None)
_BUILD.labels(find_version(), find_commit() or "").set(1)

for _outcome in get_args(EventStatus):  # rate() needs each series from the start
    _EVENTS.labels(_outcome)
for _status in get_args(DeliveryStatus):
    _DELIVERIES.labels(_status)
for _report_status in get_args(ReportStatus):
    _REPORTS.labels(_report_status)
for _export_outcome in get_args(ExportOutcome):
    _EXPORTS.labels(_export_outcome)

MeasuredTask = TypeVar("MeasuredTask")
End = TypeVar("End")


class MetricsPortUnavailable(ServiceError):
    """The process can't listen on the metrics port."""


@contextmanager
def serving_metrics(host: str, port: int | None) -> Iterator[None]:
    """Serve the metrics over HTTP, in a separate thread, while the block runs; do nothing if `port` is None.

    Raises MetricsPortUnavailable.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise MetricsPortUnavailable(f"RESULTS_METRICS_PORT: {host}:{port}: {error.strerror or error}") from error
    REGISTRY.register(_BUILD)
    try:
        yield
    finally:
        REGISTRY.unregister(_BUILD)
        server.shutdown()
        server.server_close()
        thread.join()


def count_batch(outcomes: Sequence[EventOutcome], started: float) -> None:
    """Record a batch of events that started at this value of `time.perf_counter()`."""
    _BATCHES.observe(time.perf_counter() - started)
    _BATCH_SIZE.observe(len(outcomes))
    _STORED.labels("events").inc(sum(outcome.results for outcome in outcomes))
    for outcome in outcomes:
        _EVENTS.labels(outcome.status).inc()


def count_report(outcome: ReportOutcome, duration_s: float) -> None:
    """Record one attempt to ingest a report."""
    _REPORTS.labels(outcome.status).observe(duration_s)
    _STORED.labels("reports").inc(outcome.results)


def count_export(outcome: ExportOutcome, duration_s: float) -> None:
    """Record one attempt to run an export."""
    _EXPORTS.labels(outcome).observe(duration_s)


def count_deliveries(attempted: Sequence[AttemptedDelivery], statuses: Sequence[DeliveryStatus]) -> None:
    """Record webhook attempts and the resulting statuses of their deliveries, in the same order."""
    by_status = {status: _DELIVERIES.labels(status) for status in set(statuses)}
    for attempt, status in zip(attempted, statuses, strict=True):
        by_status[status].observe(attempt.outcome.latency_ms / 1000)


def measured(
    run: Callable[[MeasuredTask], Awaitable[End]], record: Callable[[End, float], None]
) -> Callable[[MeasuredTask], Awaitable[None]]:
    """Return a function that runs a task and records its result and its duration in seconds."""

    async def run_measured(task: MeasuredTask) -> None:
        started = time.perf_counter()
        record(await run(task), time.perf_counter() - started)

    return run_measured
