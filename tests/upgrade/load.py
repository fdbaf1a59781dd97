"""Producers and readers that work during an upgrade, and what must be stored and delivered of their work."""

import asyncio
import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientSession

from tests.fixtures.broker import Broker, until
from tests.receivers import Received, Receiver, receiving
from tests.run_events import result, run_event
from tests.upgrade.snapshots import walk
from tests.upgrade.versions import REPORT, TIMEOUT_S, Api, Instance

ORGANIZATION: Final = "busy"
PROJECT: Final = "load"
_RESULTS_OF_REPORT: Final = 2
_PAUSE_S: Final = 0.2
_READ: Final = (
    "/v1/runs?limit=20",
    "/v1/results?limit=100",
    "/v1/results?status=failed",
    f"/v1/cases?project_id={PROJECT}",
    "/v1/events?limit=20",
    "/v1/receipts?limit=20",
    "/v1/results/export",
    "/v1/runs/absent?wait=1",
)


@dataclass
class Balancer:
    """Chooses the instance of each request in turn, as a load balancer does."""

    session: ClientSession
    key: str
    instances: list[Instance] = field(default_factory=list)

    def next(self) -> Api:
        self.instances.append(self.instances.pop(0))
        return Api(self.session, self.instances[-1].url, self.key)

    async def replace(self, old: Instance, new: Instance) -> None:
        """Replace an instance as the guide states: first in the load balancer, then its process."""
        self.instances = [new if each is old else each for each in self.instances]
        await old.stop()


@dataclass
class Load:
    """Sends runs and reads lists in an organization of its own."""

    balancer: Balancer
    broker: Broker
    receiver: Receiver  # of all events
    late_receiver: Receiver  # of failed runs; unavailable at first
    results: dict[str, int] = field(default_factory=dict)  # of each run that was confirmed
    exports: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    _stored: int = 0  # of the runs, in the order of their confirmation
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request to the next instance, and record an unexpected response."""
        api = self.balancer.next()
        try:
            status, response = await api.request(method, path, **options)
        except OSError as error:
            self.errors.append(f"{method} {path}: {error!r}")
            return None
        if status >= 400 and "absent" not in path:
            self.errors.append(f"{method} {path}: {status} {response}")
        return response

    async def advance(self, runs: int = 20) -> None:
        """Wait until this many further runs are sent, and all runs that were sent before the end are stored."""
        sent = len(self.results) + runs

        async def are_sent() -> bool:
            return len(self.results) >= sent

        await until(are_sent, "the load", TIMEOUT_S)
        sent_runs = list(self.results)
        await self.balancer.next().wait_for_runs(*sent_runs[self._stored :])
        self._stored = len(sent_runs)
        assert not self.errors, self.errors

    async def queue_export(self) -> None:
        """Wait until a further export is requested."""
        count = len(self.exports)

        async def is_requested() -> bool:
            return len(self.exports) > count

        await until(is_requested, "a request for an export", TIMEOUT_S)

    async def produce_events(self) -> None:
        """Publish runs of one event or two shards; repeat some events."""
        for number in range(1_000_000):
            run_id, status = f"event-{number}", "failed" if number % 5 == 0 else "passed"
            shards = 2 if number % 4 == 0 else 1
            for shard in range(1, shards + 1):
                results = [result(f"case {shard} {case}", status if case == 0 else "passed") for case in range(5)]
                run: dict[str, Any] = {"shard": shard, "expected_shards": 2} if shards == 2 else {}
                event = run_event(
                    run_id, results, id=f"{run_id}-{shard}", organization=ORGANIZATION, project_id=PROJECT, **run
                )
                for _ in range(2 if number % 7 == 0 else 1):
                    await self.broker.publish(event)
            self.results[run_id] = 5 * shards
            if await self._pause():
                return

    async def upload_reports(self) -> None:
        """Upload reports; repeat each third one with its idempotency key at another instance."""
        for number in range(1_000_000):
            run_id = f"report-{number}"
            path = f"/v1/runs/{run_id}/report?project_id={PROJECT}&branch=main"
            headers = {"Content-Type": "application/xml", "Idempotency-Key": run_id}
            receipt = await self.request("POST", path, data=REPORT, headers=headers)
            if number % 3 == 0:
                repeated = await self.request("POST", path, data=REPORT, headers=headers)
                if repeated and receipt and repeated["id"] != receipt["id"]:
                    self.errors.append(f"{run_id}: {repeated} is not {receipt}")
            self.results[run_id] = _RESULTS_OF_REPORT
            if await self._pause(3):
                return

    async def read(self) -> None:
        """Read the first two pages of each list, each from another instance."""
        while True:
            for path in _READ:
                page = await self.request("GET", path)
                if page and page.get("has_more"):
                    separator = "&" if "?" in path else "?"
                    await self.request("GET", f"{path}{separator}starting_after={page['next_cursor']}")
                if await self._pause():
                    return

    async def export(self) -> None:
        """Request exports."""
        while True:
            job = await self.request("POST", "/v1/results/export", json={"format": "ndjson"})
            if job:
                self.exports.append(job["id"])
            if await self._pause(30):
                return

    async def _pause(self, factor: int = 1) -> bool:
        """Pause, and return whether the load ends."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _PAUSE_S * factor)
        return self._stopping.is_set()

    def start(self) -> None:
        work = (self.produce_events(), self.upload_reports(), self.read(), self.export())
        self._tasks = [asyncio.create_task(each) for each in work]

    async def finish(self) -> None:
        """Finish the requests and events in progress. Deliveries are received until the end of `loading`."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def loading(balancer: Balancer, broker: Broker) -> AsyncIterator[Load]:
    """Run the load until it is finished, or until the end of the block. Receive webhooks until the end of the block."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving(503, 503, 200))
        late_receiver = await stack.enter_async_context(receiving(503))
        load = Load(balancer, broker, receiver, late_receiver)
        for url, fields in ((receiver.url, {}), (late_receiver.url, {"events": ["run.failed"]})):
            webhook = await load.request("POST", "/v1/webhooks", json={"url": url, **fields})
            load.secrets[url] = webhook["secret"]
        load.start()
        try:
            yield load
        finally:
            await load.finish()


async def problems(load: Load, api: Api) -> list[str]:
    """Return what is lost, duplicated, or wrong after the end of the load."""
    await api.wait_for_runs(*load.results)
    return [
        *load.errors,
        *await _problems_of_results(load, api),
        *await _problems_of_events(load, api),
        *await _problems_of_jobs(load, api),
        *await _problems_of_deliveries(load, api, load.receiver, "run.completed", set(load.results)),
        *await _problems_of_deliveries(load, api, load.late_receiver, "run.failed", await _failed_runs(api)),
    ]


async def _problems_of_results(load: Load, api: Api) -> list[str]:
    found = Counter(each["run_id"] for each in await walk(api, f"/v1/results?project_id={PROJECT}"))
    runs = [each["run_id"] for each in await walk(api, f"/v1/runs?project_id={PROJECT}")]
    wrong = {run_id: (found[run_id], count) for run_id, count in load.results.items() if found[run_id] != count}
    return [
        *(f"{run_id}: {count} instead of {expected} results" for run_id, (count, expected) in wrong.items()),
        *(f"{run_id}: listed {count} times" for run_id, count in Counter(runs).items() if count > 1),
        *(f"{run_id}: unknown" for run_id in found.keys() | set(runs) if run_id not in load.results),
    ]


async def _problems_of_events(load: Load, api: Api) -> list[str]:
    async def completed() -> Counter[str]:
        events = await walk(api, "/v1/events?type=run.completed")
        return Counter(each["data"]["object"]["run_id"] for each in events)

    async def are_numbered() -> bool:
        return set(await completed()) >= set(load.results)

    await until(are_numbered, "the events", TIMEOUT_S)
    return [f"{run_id}: completed {count} times" for run_id, count in (await completed()).items() if count != 1]


async def _problems_of_jobs(load: Load, api: Api) -> list[str]:
    receipts = [each for each in await walk(api, "/v1/receipts") if each["run_id"] in load.results]
    events = Counter((each["source"], each["event_id"]) for each in receipts)
    found = [f"receipt of {event}: {count} times" for event, count in events.items() if count > 1]
    found += [f"receipt: {each}" for each in receipts if each["status"] != "stored"]
    for job in load.exports:
        path = f"/v1/results/export/{job}?wait=30"
        _, export = await api.request("GET", path)
        if export["status"] != "succeeded":
            found.append(f"export: {export}")
    return found


async def _failed_runs(api: Api) -> set[str]:
    return {each["run_id"] for each in await walk(api, f"/v1/runs?project_id={PROJECT}&status=failed")}


async def _problems_of_deliveries(
    load: Load, api: Api, receiver: Receiver, event_type: str, runs: set[str]
) -> list[str]:
    """Check that each run has exactly one event of the type, delivered with a valid signature."""

    def delivered() -> dict[str, set[str]]:
        ids: dict[str, set[str]] = {}
        for each in receiver.received:
            run = each.event["data"]["object"]
            if each.event["type"] == event_type and run["project_id"] == PROJECT:
                ids.setdefault(run["run_id"], set()).add(each.headers["webhook-id"])
        return ids

    secret = load.secrets[receiver.url]
    webhooks = await walk(api, "/v1/webhooks")
    path = next(f"/v1/webhooks/{each['id']}/deliveries" for each in webhooks if each["url"] == receiver.url)

    async def are_finished() -> bool:
        return not (await api.request("GET", f"{path}?status=pending&limit=1"))[1]["data"]

    await until(are_finished, "the deliveries", TIMEOUT_S)
    found = delivered()
    return [
        *(f"{event_type} of {run_id}: not delivered" for run_id in runs - found.keys()),
        *(f"{event_type} of {run_id}: unexpected" for run_id in found.keys() - runs),
        *(f"{event_type} of {run_id}: {len(ids)} events" for run_id, ids in found.items() if len(ids) > 1),
        *(f"{path}: {each}" for each in await walk(api, path) if each["status"] != "delivered"),
        *(f"signature of {each.body!r}" for each in receiver.received if not _is_signed(each, secret)),
    ]


def _is_signed(received: Received, secret: str) -> bool:
    """Check the signature as Standard Webhooks defines it."""
    headers = received.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}" in headers["webhook-signature"].split()
