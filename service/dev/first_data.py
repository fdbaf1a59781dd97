"""Initial runs of a new stack: JUnit reports of this project, and the demo history, published as a producer does."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import orjson
from yarl import URL

from service.database.transactions import notifying_transaction
from service.dev.history import history
from service.dev.rabbitmq import publish
from service.dev.ready import ORGANIZATION
from service.domain.addresses import split_hosts
from service.domain.errors import Conflict
from service.events import outbox
from service.identity.producers.operations import add_producer
from service.ingest.contract import ResultIn, RunCompletedEvent, RunIn
from service.processes import database_connection
from service.reports.conversion.metadata import ReportMetadata
from service.reports.formats.junit import reader as junit_reader
from service.settings import Settings
from service.tasks.model import RUNS

_REPORTS: Final = Path(__file__).parent / "reports"
_EXCHANGE: Final = "runs"
_ROUTING_KEY: Final = "run.completed"


class SentRuns(NamedTuple):
    """The IDs of the published runs. Both lists are empty if an earlier start published the runs."""

    samples: Sequence[str] = ()
    history: Sequence[str] = ()


def send_once(settings: Settings, marker: Path) -> SentRuns:
    """Publish the sample reports and the demo history if `marker` doesn't exist; return the published runs."""
    if marker.exists():
        return SentRuns()
    now = datetime.now(UTC)
    reports = read_reports()
    samples = [_event(_sample_run(name, now), results) for name, results in reports.items()]
    demo = [_event(*run) for run in history(chain.from_iterable(reports.values()), now)]
    events = [*samples, *demo]
    asyncio.run(_publish(settings, events) if settings.amqp_url else _enqueue(settings, events))
    sent = SentRuns(_run_ids(samples), _run_ids(demo))
    marker.write_text("".join(f"{run_id}\n" for run_id in (*sent.samples, *sent.history)))
    return sent


async def _publish(settings: Settings, events: Sequence[RunCompletedEvent]) -> None:
    bodies = [orjson.dumps(event) for event in events]
    url = settings.amqp_url or ""
    user = await _register(settings, url) if settings.producer_identity == "required" else None
    await publish(url, settings.queue_prefix + _EXCHANGE, _ROUTING_KEY, bodies, user)


async def _register(settings: Settings, amqp_url: str) -> str:
    """Register the RabbitMQ user of the stack as a producer, and return it."""
    user = URL(split_hosts(amqp_url)[0]).user or "guest"
    async with database_connection(settings, "results_worker") as connection:
        with suppress(Conflict):
            await add_producer(connection, ORGANIZATION, user, None)
    return user


async def _enqueue(settings: Settings, events: Sequence[RunCompletedEvent]) -> None:
    """Write the events to the embedded queue."""
    async with database_connection(settings, "results_worker") as connection, notifying_transaction(connection):
        for event in events:
            await outbox.put(connection, RUNS, orjson.loads(orjson.dumps(event)))


def read_reports() -> dict[str, list[ResultIn]]:
    """Return the results of each sample report by the name of its file."""
    reports = {}
    for report in sorted(_REPORTS.glob("*.xml")):
        with report.open("rb") as source:
            reports[report.stem] = [result for batch in junit_reader.read(source, ReportMetadata()) for result in batch]
    return reports


def _sample_run(name: str, now: datetime) -> RunIn:
    """Return the run of a report. A project per suite prevents a comparison of runs of different suites."""
    return RunIn(
        run_id=f"run_first_{name}",
        project_id=f"proj_{name}",
        environment="local",
        branch="main",
        labels={"suite": name},
        completed_at=now,
    )


def _event(run: RunIn, results: list[ResultIn]) -> RunCompletedEvent:
    return RunCompletedEvent(
        specversion="1.0",
        type="run.completed",
        source="/zof-results/dev",
        id=f"evt_{uuid4().hex}",
        time=run["completed_at"],
        data={"organization": ORGANIZATION, "run": run, "results": results},
    )


def _run_ids(events: Iterable[RunCompletedEvent]) -> list[str]:
    return [event["data"]["run"]["run_id"] for event in events]
