"""Producers of numbered run-completion events and reports, and a client that requests exports.

They send again what isn't confirmed, as real ones do.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

import aio_pika
import aiohttp
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import AMQPError

from consumers.topology import RUN_COMPLETED
from tests.faults.journals import Journal
from tests.faults.proxied_stack import ORGANIZATIONS, ServiceStack
from tests.report_api import PASSING
from tests.run_events import body, result, run_event

REPORT: Final = "/report/"  # in the run IDs of reports
EVENT: Final = "/event/"  # in the IDs of valid events
CASES: Final = 6  # per shard
SHARDS: Final = 2
REPORT_CASES: Final = 2
EXPORT: Final = "/export/"  # in the IDs of the attempts to request an export
PUBLISHERS: Final = 4
POISON: Final = "/poison/"  # in the IDs of invalid events

_PAUSE_S: Final = 0.06  # of each publisher
_REPORT_PAUSE_S: Final = 0.3
_EXPORT_PAUSE_S: Final = 1.0
_RETRY_S: Final = 0.2
_TIMEOUT_S: Final = 5
_REPEAT_EVERY: Final = 10  # each tenth event is sent twice, as after a lost confirm
_POISON_EVERY: Final = 20
_LOST_CONNECTION: Final = (AMQPError, OSError, TimeoutError, RuntimeError)

SendRequest = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


def organization_of(run_number: int) -> str:
    return ORGANIZATIONS[run_number % len(ORGANIZATIONS)]


def shard_event(label: str, number: int, time: str) -> dict[str, Any]:
    """Return the event with this number. Two consecutive events are the shards of one run of one organization."""
    run, shard = divmod(number, SHARDS)
    organization = organization_of(run)
    cases = [result(f"case {shard} {case}", "failed" if case == 0 else "passed") for case in range(CASES)]
    return run_event(
        f"{label}/{organization}/{run}", cases, id=event_id(label, number), organization=organization,
        time=time, expected_shards=SHARDS, shard=shard + 1,
    )  # fmt: skip


def event_id(label: str, number: int) -> str:
    return f"{label}{EVENT}{number}"


def report_run_id(label: str, number: int) -> str:
    return f"{label}/{organization_of(number)}{REPORT}{number}"


class Producers:
    """Publishers of events, and clients that send reports and request exports.

    `label` is the first part of every ID that they use, except for the IDs of exports.
    """

    def __init__(self, stack: ServiceStack, journal: Journal, label: str) -> None:
        self._stack = stack
        self._journal = journal
        self._label = label
        self._numbers = count()
        self._started_at = datetime.now(UTC).isoformat()  # the same in each attempt to send an event
        self._stopping = asyncio.Event()

    async def run(self, duration_s: float) -> None:
        """Send for `duration_s`, then until all attempted AMQP events are confirmed."""
        asyncio.get_running_loop().call_later(duration_s, self._stopping.set)
        async with asyncio.TaskGroup() as group:
            for _ in range(PUBLISHERS):
                group.create_task(self._publish_runs())
            group.create_task(self._send(self._send_report, _REPORT_PAUSE_S))
            group.create_task(self._send(self._request_export, _EXPORT_PAUSE_S))

    async def _publish_runs(self) -> None:
        pending: list[int] = []
        while pending or not self._stopping.is_set():
            with contextlib.suppress(*_LOST_CONNECTION):
                async with await self._stack.connect_to_broker() as connection:
                    channel = await connection.channel(publisher_confirms=True)
                    exchange = await channel.get_exchange(self._stack.topology.runs_exchange, ensure=False)
                    await self._publish_until_stopped(exchange, pending)
            await asyncio.sleep(_RETRY_S)

    async def _publish_until_stopped(self, exchange: AbstractExchange, pending: list[int]) -> None:
        while pending or not self._stopping.is_set():
            if not pending:
                first = next(self._numbers) * SHARDS
                pending += range(first, first + SHARDS)
            await self._publish(exchange, pending[-1])
            pending.pop()
            await asyncio.sleep(_PAUSE_S)

    async def _publish(self, exchange: AbstractExchange, number: int) -> None:
        for event in self._events(number):
            message = aio_pika.Message(body(event), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await asyncio.to_thread(self._journal.record_attempt, event["id"])
            await exchange.publish(message, routing_key=RUN_COMPLETED, mandatory=True, timeout=_TIMEOUT_S)
            await asyncio.to_thread(self._journal.record_confirm, event["id"])

    def _events(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield the event with this number once or twice, and for some numbers an invalid event."""
        event = shard_event(self._label, number, self._started_at)
        yield event
        if number % _REPEAT_EVERY == 0:
            yield event
        if number % _POISON_EVERY == 0:
            yield {**event, "id": f"{self._label}{POISON}{number}", "specversion": "invalid"}

    async def _send(self, send: SendRequest, pause_s: float) -> None:
        """Send numbered requests until the producers must stop."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session:
            for number in count():
                if self._stopping.is_set():
                    return
                await send(session, number)
                await asyncio.sleep(pause_s)

    async def _send_report(self, session: aiohttp.ClientSession, number: int) -> None:
        run_id = report_run_id(self._label, number)
        path = f"/v1/runs/{run_id.replace('/', '%2F')}/report?project_id=shop"
        await asyncio.to_thread(self._journal.record_attempt, run_id)
        if await self._post(session, organization_of(number), run_id, path, data=PASSING):
            await asyncio.to_thread(self._journal.record_confirm, run_id)

    async def _request_export(self, session: aiohttp.ClientSession, number: int) -> None:
        """Request an export of the run with this number. The service chooses the ID of the export."""
        organization = organization_of(number)
        request = {"format": "ndjson", "filter": {"run_id": f"{self._label}/{organization}/{number}"}}
        request_id = f"{self._label}/{organization}{EXPORT}{number}"
        await asyncio.to_thread(self._journal.record_attempt, request_id)
        if job := await self._post(session, organization, request_id, "/v1/results/export", json=request):
            await asyncio.to_thread(self._journal.record_confirm, job["id"])

    async def _post(
        self, session: aiohttp.ClientSession, organization: str, request_id: str, path: str, **body: Any
    ) -> Any:
        """Send one request until it is accepted or sending stops, always with the same idempotency key.

        Return the body of the response, or None if no response confirms the request.
        """
        headers = {
            "Authorization": f"Bearer {self._stack.keys[organization]}",
            "Idempotency-Key": request_id.replace("/", "-"),
        }
        while not self._stopping.is_set():
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.post(self._stack.api_url + path, headers=headers, **body) as response:
                    if response.status == 202:
                        return await response.json()
                    assert response.status >= 500 or response.status == 409, await response.text()
            await asyncio.sleep(_RETRY_S)
        return None
