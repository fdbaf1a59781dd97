"""Tests that one trace follows a run from its event or report to the webhook."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from consumers.broker import BrokerTask, run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.messages import Delivery, HandlerOutcome
from consumers.relay import Relay
from consumers.runs import runs_handler
from consumers.tasks import TaskRunner
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.reports.store import LeasedReport
from service.settings import Settings
from service.tasks.model import REPORTS
from tests.fixtures.broker import Broker, consuming, isolation, until
from tests.receivers import Receiver, receiving
from tests.report_api import PASSING, Reports, new_ingester, serving_reports
from tests.run_events import body, result, run_event
from tests.running import running
from tests.stored import RETENTION, Store
from tests.tracing.recorded import Recorded, context, span_id
from tests.webhooks.dispatching import add_webhook, dispatching

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def received(receiver: Receiver, count: int = 1) -> list[str]:
    """Wait for this number of requests, and return their traceparent headers."""

    async def have_arrived() -> bool:
        return len(receiver.received) >= count

    await until(have_arrived, f"{count} webhook requests")
    return [request.headers.get("traceparent", "") for request in receiver.received]


@asynccontextmanager
async def webhook_of(store: Store) -> AsyncIterator[Receiver]:
    """Deliver the completed runs of this store to a receiver."""
    async with receiving() as receiver:
        await add_webhook(store, f"{receiver.url}?token=secret", events=("run.completed",))
        async with dispatching(store):
            yield receiver


async def publish_and_receive(store: Store, broker: Broker, event: Any, **properties: Any) -> str:
    """Publish one event, and return the traceparent of the webhook request."""
    async with webhook_of(store) as receiver, consuming(broker, store, runs_handler(store.run_ingest)):
        await broker.publish(event, **properties)
        [traceparent] = await received(receiver)
    return traceparent


async def test_one_trace_leads_from_the_published_message_to_the_webhook(
    recorded: Recorded, store: Store, broker: Broker
) -> None:
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=a", "baggage": "secret=1"}
    async with webhook_of(store) as receiver, consuming(broker, store, runs_handler(store.run_ingest)):
        await broker.publish(run_event(), headers=headers)
        [traceparent] = await received(receiver)
    processing, posting = recorded.one("process results.runs"), recorded.one("POST")
    assert processing.parent is not None
    assert f"{processing.parent.span_id:016x}" == PARENT
    assert processing.kind is SpanKind.CONSUMER
    assert (processing.attributes or {})["results.outcome"] == "stored"
    assert traceparent == f"00-{TRACE}-{span_id(posting)}-01"
    assert recorded.ancestors(posting) == ["POST", "attempt delivery", "process results.runs"]
    request = receiver.received[0].headers
    assert (request["tracestate"], request.get("baggage")) == ("vendor=a", None)
    statements = [span.name for span in recorded.of_trace(traceparent) if recorded.parent(span) is processing]
    assert {"BEGIN;", "INSERT", "COPY results", "COMMIT;"} <= set(statements)


async def test_spans_have_no_address_of_a_webhook(recorded: Recorded, store: Store, broker: Broker) -> None:
    """The path and the query of a webhook can be a credential."""
    await publish_and_receive(store, broker, run_event(), headers={"traceparent": TRACEPARENT})
    texts = orjson.dumps([dict(span.attributes or {}) for span in recorded.spans]).decode()
    assert "http://127.0.0.1:" in texts
    assert "/hook" not in texts
    assert "token" not in texts


async def test_trace_continues_from_the_attributes_of_the_event(
    recorded: Recorded, store: Store, broker: Broker
) -> None:
    traced = {**run_event(), "traceparent": TRACEPARENT, "tracestate": "vendor=a"}
    assert (await publish_and_receive(store, broker, traced)).split("-")[1] == TRACE


async def test_trace_continues_from_the_attributes_of_an_event_in_binary_mode(
    recorded: Recorded, store: Store, broker: Broker
) -> None:
    event = run_event()
    data = orjson.dumps(event.pop("data"))
    headers = {f"cloudEvents_{name}": value for name, value in {**event, "traceparent": TRACEPARENT}.items()}
    traceparent = await publish_and_receive(store, broker, data, headers=headers, content_type="application/json")
    assert traceparent.split("-")[1] == TRACE


async def test_header_is_the_parent_and_the_event_is_linked(recorded: Recorded, store: Store, broker: Broker) -> None:
    """An intermediary that forwards the event continues its own trace."""
    traced = {**run_event(), "traceparent": OTHER}
    traceparent = await publish_and_receive(store, broker, traced, headers={"traceparent": TRACEPARENT})
    assert traceparent.split("-")[1] == TRACE
    [link] = recorded.one("process results.runs").links
    assert f"{link.context.trace_id:032x}" == OTHER.split("-")[1]


@pytest.mark.parametrize(
    "context_fields",
    [{"traceparent": 1}, {"traceparent": "00-x"}, {"traceparent": None, "tracestate": ["a"]}, {"traceparent": {}}],
)
async def test_invalid_context_starts_a_new_trace(
    recorded: Recorded, store: Store, broker: Broker, context_fields: dict[str, Any]
) -> None:
    traceparent = await publish_and_receive(
        store, broker, {**run_event(), **context_fields}, headers={"traceparent": 7}
    )
    assert recorded.one("process results.runs").parent is None
    assert recorded.of_trace(traceparent)


async def test_events_of_one_batch_stay_in_their_own_traces(recorded: Recorded, store: Store) -> None:
    handle = runs_handler(store.run_ingest)
    contexts = [TRACEPARENT, OTHER, None]
    async with webhook_of(store) as receiver:
        await handle([delivery(run_event(f"run_{n}"), each) for n, each in enumerate(contexts)])
        traceparents = await received(receiver, 3)
    by_run = {request.event["data"]["object"]["run_id"]: traceparent for request, traceparent in zip(
        receiver.received, traceparents, strict=True)}  # fmt: skip
    assert by_run["run_0"].split("-")[1] == TRACE
    assert by_run["run_1"].split("-")[1] == OTHER.split("-")[1]
    assert len({traceparent.split("-")[1] for traceparent in traceparents}) == 3
    batch, messages = recorded.one("process batch of results.runs"), recorded.named("process results.runs")
    assert {link.context.span_id for link in batch.links} == {context(span).span_id for span in messages}
    assert {link.context.span_id for span in messages for link in span.links} == {context(batch).span_id}
    assert "COPY results" in {span.name for span in recorded.spans if recorded.parent(span) is batch}


async def test_rejected_event_is_an_error(recorded: Recorded, store: Store) -> None:
    await runs_handler(store.run_ingest)([delivery(b"not json", TRACEPARENT)])
    span = recorded.one("process results.runs")
    assert (span.attributes or {})["results.outcome"] == "rejected"
    assert span.status.status_code is StatusCode.ERROR


async def test_large_event_is_traced(recorded: Recorded, store: Store) -> None:
    event = run_event(results=[result(f"case {n}", file="x" * 500) for n in range(1_000)])
    await runs_handler(store.run_ingest)([delivery({**event, "traceparent": TRACEPARENT}, None)])
    assert recorded.of_trace(TRACEPARENT)
    assert await store.pool.fetchval("SELECT trace_context FROM events") is not None


async def test_report_of_an_event_in_a_batch_continues_its_trace(recorded: Recorded, store: Store) -> None:
    """The data of the event is in storage, so a worker of reports reads it later."""
    ingest = RunIngest(BatchStore(store.pool, RETENTION, storage_url="file:///files"))
    reference = {**run_event(), "dataref": "inbox/1/run_1"}
    del reference["data"]
    await runs_handler(ingest)([delivery(run_event("run_2"), OTHER), delivery(reference, TRACEPARENT)])
    stored: Any = await store.pool.fetchval("SELECT trace_context FROM receipts WHERE status = 'queued'")
    assert stored["traceparent"].split("-")[1] == TRACE
    message: Any = await store.pool.fetchval("SELECT payload -> 'trace_context' FROM outbox")
    assert message == stored


def delivery(event: Any, traceparent: str | None) -> Delivery:
    return Delivery(body(event), None, {"traceparent": traceparent} if traceparent else {})


@asynccontextmanager
async def reports_over_amqp(reports: Reports, broker: Broker, folder: Path) -> AsyncIterator[list[Delivery]]:
    """Run the relay and a worker of reports with a broker. Provide the messages that arrive."""
    arrived: list[Delivery] = []
    pool, stopping = reports.api.store.pool, asyncio.Event()
    ingester = new_ingester(Settings(artifacts_url=(folder / "files").as_uri()), pool)
    runner = TaskRunner[LeasedReport]("reports", ingester.lease, ingester.ingest, 2, stopping)

    async def handle(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        arrived.extend(deliveries)
        return await runner.handle(deliveries)

    consumer = BatchConsumer(
        broker.topology, broker.topology.queue(REPORTS), handle, isolation(reports.api.store), stopping
    )
    tasks: list[BrokerTask] = [consumer, Relay(pool, broker.topology, stopping)]
    async with running(stopping, runner.run(), run_on_broker(broker.url, broker.topology, tasks, stopping)):
        yield arrived


async def test_one_trace_leads_from_the_upload_of_a_report_to_the_webhook(
    recorded: Recorded, database_url: str, broker: Broker, tmp_path: Path
) -> None:
    sent = f"send {broker.topology.queue(REPORTS)}"

    async def has_arrived() -> bool:
        return bool(messages)

    async with (
        serving_reports(database_url, tmp_path) as reports,
        webhook_of(reports.api.store) as receiver,
        reports_over_amqp(reports, broker, tmp_path) as messages,
    ):
        with suppress_http_instrumentation():  # of the client in this test
            await reports.ingest(PASSING, traceparent=TRACEPARENT)
        [traceparent] = await received(receiver)
        await until(has_arrived, "the message of the relay")
    posting, upload = recorded.one("POST"), "POST /v1/runs/{run_id}/report"
    assert traceparent == f"00-{TRACE}-{span_id(posting)}-01"
    assert recorded.ancestors(posting) == ["POST", "attempt delivery", "process reports", upload]
    sending = recorded.one(sent)
    assert recorded.ancestors(sending) == [sent, upload]
    assert messages[0].headers["traceparent"] == f"00-{TRACE}-{span_id(sending)}-01"
    request, job = recorded.one(upload), recorded.one("process reports")
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    assert (request.attributes or {})["http.response.status_code"] == 202
    assert {"COPY results", "COMMIT;"} <= {span.name for span in recorded.spans if recorded.parent(span) is job}


async def test_failed_job_is_an_error(recorded: Recorded, database_url: str, broker: Broker, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports, reports_over_amqp(reports, broker, tmp_path):
        assert (await reports.ingest(b"<no-report/>"))["status"] == "rejected"
    job = recorded.one("process reports")
    assert job.status.status_code is StatusCode.ERROR
    assert "no-report" in str(job.status.description)


async def test_loops_without_work_have_no_spans(recorded: Recorded, store: Store) -> None:
    async with webhook_of(store):
        await asyncio.sleep(1.5)  # longer than the interval in which the dispatcher polls
    assert recorded.spans == ()


async def test_nothing_is_traced_by_default(store: Store, broker: Broker) -> None:
    traceparent = await publish_and_receive(store, broker, run_event(), headers={"traceparent": TRACEPARENT})
    assert traceparent == ""
    assert await store.pool.fetchval("SELECT count(trace_context) FROM events") == 0
