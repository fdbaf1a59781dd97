"""Sample runs for a new stack: JUnit reports of this project, published as a producer publishes events."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import orjson

from service.contracts.run_events import ResultIn, RunCompletedEvent, RunIn
from service.dev.demo import ORGANIZATION
from service.dev.queues import publish
from service.domain.queues import RUNS
from service.reports import junit
from service.reports.metadata import ReportMetadata
from service.resources import database_connection
from service.settings import Settings
from service.store import outbox

_REPORTS: Final = Path(__file__).parent / "reports"
_EXCHANGE: Final = "runs"
_ROUTING_KEY: Final = "run.completed"


def send_once(settings: Settings, marker: Path) -> list[str]:
    """Publish the sample reports if `marker` doesn't exist; return the IDs of the published runs."""
    if marker.exists():
        return []
    events = list(first_events())
    asyncio.run(_publish(settings, events) if settings.amqp_url else _enqueue(settings, events))
    run_ids = [event["data"]["run"]["run_id"] for event in events]
    marker.write_text("".join(f"{run_id}\n" for run_id in run_ids))
    return run_ids


async def _publish(settings: Settings, events: Sequence[RunCompletedEvent]) -> None:
    bodies = [orjson.dumps(event) for event in events]
    await publish(settings.amqp_url or "", settings.queue_prefix + _EXCHANGE, _ROUTING_KEY, bodies)


async def _enqueue(settings: Settings, events: Sequence[RunCompletedEvent]) -> None:
    """Write the events to the embedded queue."""
    async with database_connection(settings, "results_worker") as connection:
        for event in events:
            await outbox.put(connection, RUNS, orjson.loads(orjson.dumps(event)))


def first_events() -> Iterator[RunCompletedEvent]:
    """Create one event for each report, completed now."""
    for report in sorted(_REPORTS.glob("*.xml")):
        with report.open("rb") as source:
            results = [result for batch in junit.read(source, ReportMetadata()) for result in batch]
        yield _event(report.stem, results)


def _event(name: str, results: list[ResultIn]) -> RunCompletedEvent:
    now = datetime.now(UTC)
    run = RunIn(
        run_id=f"run_first_{name}",
        project_id="proj_results",
        environment="local",
        branch="main",
        labels={"suite": name},
        completed_at=now,
    )
    return RunCompletedEvent(
        specversion="1.0",
        type="run.completed",
        source="/zof-results/dev",
        id=f"evt_{uuid4().hex}",
        time=now,
        data={"organization": ORGANIZATION, "run": run, "results": results},
    )
