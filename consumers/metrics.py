"""What consumers do, counted for Prometheus, and the port on which a process tells it. No label tells of one tenant."""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar, get_args

from prometheus_client import Counter, Histogram, disable_created_metrics, start_http_server

from service.domain.deliveries import DeliveryStatus
from service.domain.errors import ServiceError
from service.usecases.exports.run_export import ExportEnd
from service.usecases.ingest.batch_items import EventOutcome, EventStatus
from service.usecases.reports.store_report import ReportOutcome
from service.usecases.webhooks.deliver_events import AttemptedDelivery

disable_created_metrics()  # they would double what is scraped

_JOB_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_POST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)

_EVENTS: Final = Counter("results_events_total", "Run-completion events by what became of them", ("outcome",))
_STORED: Final = Counter("results_stored_total", "Results in the events and reports that were stored", ("origin",))
_BATCH_SIZE: Final = Histogram("results_batch_events", "Events in one batch", buckets=(1, 2, 5, 10, 20, 50))
_BATCHES: Final = Histogram("results_batch_seconds", "Time until a batch of events was stored", buckets=_BATCH_SECONDS)
_REPORTS: Final = Histogram(
    "results_report_seconds", "Tries to take a report in, by what it is after that", ("status",), buckets=_JOB_SECONDS
)
_EXPORTS: Final = Histogram(
    "results_export_seconds", "Tries to make an export, by what it is after that", ("status",), buckets=_JOB_SECONDS
)
_DELIVERIES: Final = Histogram(
    "results_delivery_seconds", "Attempts at a delivery, by what it is after that", ("status",), buckets=_POST_SECONDS
)
DEAD_LETTERS: Final = Counter("results_dead_letters_total", "Messages that nobody can take", ("queue", "reason"))
RELAYED: Final = Counter("results_outbox_sent_total", "Messages of the outbox that have arrived")
BROKER_LOSSES: Final = Counter("results_broker_losses_total", "Times that the broker was lost, or not reached")
TASK_FAILURES: Final = Counter("results_chore_failures_total", "Chores that ended with an error", ("chore",))

for _outcome in get_args(EventStatus):  # a rate can be taken of what is there from the start
    _EVENTS.labels(_outcome)
for _status in get_args(DeliveryStatus):
    _DELIVERIES.labels(_status)

Job = TypeVar("Job")
End = TypeVar("End")


class NoMetricsPort(ServiceError):
    """The port for the metrics can't be listened on."""


@contextmanager
def served(host: str, port: int | None) -> Iterator[None]:
    """Tells what is counted, over HTTP in a thread of its own, while the block runs. Raises NoMetricsPort."""
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise NoMetricsPort(f"RESULTS_METRICS_PORT: {host}:{port}: {error.strerror or error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def count_batch(verdicts: Sequence[EventOutcome], begun: float) -> None:
    """A batch of events that was begun at this value of the performance counter."""
    _BATCHES.observe(time.perf_counter() - begun)
    _BATCH_SIZE.observe(len(verdicts))
    _STORED.labels("events").inc(sum(verdict.results for verdict in verdicts))
    for verdict in verdicts:
        _EVENTS.labels(verdict.what).inc()


def count_report(taken: ReportOutcome, took_s: float) -> None:
    """One try."""
    _REPORTS.labels(taken.status).observe(took_s)
    _STORED.labels("reports").inc(taken.results)


def count_export(end: ExportEnd, took_s: float) -> None:
    """One try."""
    _EXPORTS.labels(end).observe(took_s)


def count_deliveries(attempted: Sequence[AttemptedDelivery], statuses: Sequence[DeliveryStatus]) -> None:
    """Attempts, with what their deliveries are after them."""
    for one, status in zip(attempted, statuses, strict=True):
        _DELIVERIES.labels(status).observe(one.answer.latency_ms / 1000)


def counted(
    run: Callable[[Job], Awaitable[End]], count: Callable[[End, float], None]
) -> Callable[[Job], Awaitable[None]]:
    """Does a job, and counts how it ended and how long it took."""

    async def run_counted(job: Job) -> None:
        begun = time.perf_counter()
        count(await run(job), time.perf_counter() - begun)

    return run_counted
