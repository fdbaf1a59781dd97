"""The data of an organization that used the last release: real reports, events, and every kind of object of its API."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.fixtures.broker import Broker, until
from tests.receivers import Receiver, receiving
from tests.reports.manifests import CORPUS, ListedReport, all_listed
from tests.run_events import result, run_event
from tests.upgrade.versions import TIMEOUT_S, Api

EVENTS: Final = 200  # runs that arrive through the broker
DEAD_LETTERS: Final = 3
_READ_BY_0_9: Final = frozenset({"junit-xml", "ctrf", "native", "go-test-json", "playwright-json", "trx"})
_CONCURRENT_UPLOADS: Final = 8
_ENVIRONMENTS: Final = ("staging", "production")
_BRANCHES: Final = ("main", "main", "feature/pay")
_STATUSES: Final = ("passed", "failed", "error", "skipped", "canceled")


@dataclass(frozen=True)
class Mutation:
    """A request with an idempotency key, and its response."""

    method: str
    path: str
    key: str
    body: Any
    status: int
    response: Any

    async def repeat(self, api: Api) -> tuple[int, Any]:
        return await _send(api, self.method, self.path, self.body, self.key)


@dataclass
class Filled:
    """What was sent: the counts of each run from the manifests and events, and the requests that can be repeated."""

    projects: set[str] = field(default_factory=set)
    results: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    mutations: list[Mutation] = field(default_factory=list)

    async def mutate(self, api: Api, method: str, path: str, body: Any = None) -> Any:
        """Send a request with an idempotency key, and record it."""
        key = f"key-{len(self.mutations)}"
        status, response = await _send(api, method, path, body, key)
        assert status < 300, (path, response)
        self.mutations.append(Mutation(method, path, key, body, status, response))
        return response


@asynccontextmanager
async def filled(api: Api, broker: Broker, reports_of_release: Path) -> AsyncIterator[Filled]:
    """Fill the organization `acme`, whose webhooks end with the block."""
    data = Filled()
    async with receiving() as receiver:
        await _create_webhooks(api, data, receiver)
        await _send_reports(api, data, [reports_of_release, CORPUS])
        await _send_parts(api, data)
        await _publish(broker, data)
        await api.wait_for_runs(*data.results)
        await _change_runs(api, data)
        await _upload_files(api, data)
        await _export(api, data)
        await _create_keys(api, data)
        await _settle(api, receiver)
        yield data


async def wrong_counts(api: Api, data: Filled) -> dict[str, Any]:
    """Return the runs whose counts differ from those of the manifests and events: run -> (found, expected)."""
    wrong: dict[str, Any] = {}
    for run_id, expected in data.results.items():
        _, run = await api.request("GET", f"/v1/runs/{run_id}")
        found = {status: run["counts"][status] for status in _STATUSES}
        if sum(found.values()) != expected or found != {**found, **data.statuses.get(run_id, {})}:
            wrong[run_id] = (found, expected, data.statuses.get(run_id))
    for run_id in data.rejected:
        if (await api.request("GET", f"/v1/runs/{run_id}"))[0] != 404:
            wrong[run_id] = ("exists", "rejected")
    return wrong


async def _send(api: Api, method: str, path: str, body: Any, key: str | None = None) -> tuple[int, Any]:
    sent = {"data": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    return await api.request(method, path, **sent, headers={"Idempotency-Key": key} if key else {})


async def _send_reports(api: Api, data: Filled, folders: list[Path]) -> None:
    """Send each report of the manifests as a run of its own, and wait until all are stored or rejected."""
    listed = [(report, folder) for folder in folders for report in all_listed(folder) if report.path.stat().st_size]
    slots = asyncio.Semaphore(_CONCURRENT_UPLOADS)

    async def send(number: int, report: ListedReport, folder: Path) -> str:
        run_id = ":".join(("corpus" if folder == CORPUS else "release", *report.path.relative_to(folder).parts))
        project = f"project-{number % 7}"
        data.projects.add(project)
        _expect(data, run_id, report)
        path = (
            f"/v1/runs/{run_id}/report?project_id={project}&environment={_ENVIRONMENTS[number % 2]}"
            f"&branch={_BRANCHES[number % 3]}&commit_sha={number:040x}&labels=number:{number}&labels=kind:corpus"
            f"&completed_at=2026-{1 + number % 10:02}-12T10:00:00Z"
        )
        async with slots:
            status, receipt = await _send(api, "POST", path, report.path.read_bytes())
            assert status == 202, receipt
        return str(receipt["id"])

    sent = [send(number, report, folder) for number, (report, folder) in enumerate(listed)]
    for receipt_id in await asyncio.gather(*sent):
        await _wait(api, f"/v1/receipts/{receipt_id}", ("stored", "partial", "rejected"))


def _expect(data: Filled, run_id: str, report: ListedReport) -> None:
    if not (report.is_well_formed and report.format in _READ_BY_0_9):
        data.rejected.add(run_id)
        return
    data.results[run_id] = report.results
    if report.format != "ctrf" and not report.further_attempts and not report.count("suite_level_outcomes"):
        data.statuses[run_id] = report.statuses


async def _send_parts(api: Api, data: Filled) -> None:
    """Send runs that consist of several uploads: shards, variants, and an upload that isn't final."""
    native = {"results": [result(f"case {case}", "failed" if case == 0 else "passed") for case in range(5)]}
    start = "/v1/runs/{}/report?project_id=parts&branch=main"
    data.projects.add("parts")
    for shard in (1, 2):
        await data.mutate(api, "POST", start.format("sharded") + f"&shard={shard}/2", native)
    for name in ("linux", "windows"):
        await data.mutate(api, "POST", start.format("matrix") + f"&variant=os:{name}", native)
    await data.mutate(api, "POST", start.format("open") + "&final=false&notify=false", native)
    data.results |= {"sharded": 5, "matrix": 10, "open": 5}


async def _publish(broker: Broker, data: Filled) -> None:
    """Publish runs with retries, corrections, repeated events, and events that become dead letters."""
    for number in range(EVENTS):
        run_id, results = f"event-{number}", _results_of(number)
        time = f"2026-06-{1 + number % 28:02}T12:00:00Z"
        event = run_event(
            run_id, results, id=f"id-{number}", time=time, project_id=f"service-{number % 4}",
            environment=_ENVIRONMENTS[number % 2], branch=_BRANCHES[number % 3], labels={"number": str(number)},
        )  # fmt: skip
        await broker.publish(event)
        data.projects.add(f"service-{number % 4}")
        data.results[run_id] = len(results)
        data.statuses[run_id] = Counter(each["status"] for each in results)
        if number % 10 == 0:
            await broker.publish(event)
        if number % 10 == 5:
            await broker.publish(_correction(event, number))
            data.statuses[run_id].update(passed=1, failed=-1)
    unknown, reused = run_event("lost", organization="unknown", id="lost"), run_event("event-1", id="id-1")
    await broker.publish(unknown, b"not JSON", reused)


def _results_of(number: int) -> list[dict[str, Any]]:
    failure = {"type": "AssertionError", "message": f"expected 200 got {number}", "details": "line 1\nline 2"}
    attempt = {"status": "failed", "failure": {"message": "timeout"}}
    return [
        result("pays", "failed", failure=failure, case_id=f"tc_pay_{number % 9}", logs_ref="s3://logs/1.log"),
        result("retries", "passed", attempts=[attempt, {"status": "passed"}], variant={"os": "linux"}),
        result("skips", "skipped", properties={"owner": "team"}),
        *(result(f"case {case}") for case in range(number % 12)),
    ]


def _correction(event: Any, number: int) -> Any:
    run = event["data"]["run"]
    corrected = result("pays", "passed", case_id=f"tc_pay_{number % 9}")
    return run_event(
        run["run_id"], [corrected], id=f"correction-{number}", time="2026-07-01T12:00:00Z", project_id=run["project_id"]
    )


async def _change_runs(api: Api, data: Filled) -> None:
    """Complete, pin, and delete runs."""
    await data.mutate(api, "POST", "/v1/runs/open/complete")
    await data.mutate(api, "PUT", "/v1/runs/event-2/pin")
    await data.mutate(api, "DELETE", "/v1/runs/event-3")
    del data.results["event-3"], data.statuses["event-3"]
    data.rejected.add("event-3")


async def _upload_files(api: Api, data: Filled) -> None:
    _, page = await api.request("GET", "/v1/results?run_id=event-4")
    for number, found in enumerate(page["data"][:3]):
        await data.mutate(api, "PUT", f"/v1/results/{found['id']}/artifacts/{number}.log?kind=log", b"text " * 1_000)


async def _export(api: Api, data: Filled) -> None:
    """Request exports in all formats, and wait for their files; delete one."""
    requests = [
        {"format": "csv"},
        {"format": "json", "filter": {"status": ["failed", "error"]}},
        {"format": "ndjson", "compression": "zstd", "filter": {"run_id": "event-4"}},
        {"format": "parquet", "filter": {"from": "2026-03-01T00:00:00Z", "branch": "main"}},
        {"format": "csv", "compression": "gzip", "columns": ["id", "status", "name"], "raw": True},
    ]
    exports = [await data.mutate(api, "POST", "/v1/results/export", request) for request in requests]
    for export in exports:
        await _wait(api, f"/v1/results/export/{export['id']}", ("succeeded",))
    await data.mutate(api, "DELETE", f"/v1/results/export/{exports[-1]['id']}")


async def _create_webhooks(api: Api, data: Filled, receiver: Receiver) -> None:
    for fields in (
        {"description": "all events"},
        {"events": ["run.failed"], "project_id": "service-1"},
        {"events": ["export.completed"], "enabled": False},
    ):
        await data.mutate(api, "POST", "/v1/webhooks", {"url": receiver.url, **fields})


async def _create_keys(api: Api, data: Filled) -> None:
    """Create keys of all roles, and rotate and revoke one."""
    fields: list[dict[str, Any]] = [
        {"role": "viewer", "expires_at": "2036-01-01T00:00:00Z"},
        {"role": "engineer", "project_id": "service-1"},
        {"role": "admin"},
        {"role": "engineer"},
    ]
    keys = [await data.mutate(api, "POST", "/v1/api-keys", {"name": f"key {each}", **each}) for each in fields]
    await data.mutate(api, "POST", f"/v1/api-keys/{keys[3]['id']}/rotate")
    await data.mutate(api, "DELETE", f"/v1/api-keys/{keys[2]['id']}")


async def _settle(api: Api, receiver: Receiver) -> None:
    """Recover the events of a webhook, and wait until its deliveries are finished."""
    _, page = await api.request("GET", "/v1/webhooks")
    path = f"/v1/webhooks/{page['data'][-1]['id']}"
    assert (await _send(api, "POST", f"{path}/test", None))[0] == 202
    status, recovery = await _send(api, "POST", f"{path}/recover", {"since": "2026-01-01T00:00:00Z"})
    assert status == 202, recovery
    await _wait(api, f"{path}/recoveries/{recovery['id']}", ("succeeded", "completed", "finished"))
    for each in page["data"]:
        await _wait_for_deliveries(api, f"/v1/webhooks/{each['id']}/deliveries")


async def _wait_for_deliveries(api: Api, path: str) -> None:
    async def are_finished() -> bool:
        return not (await api.request("GET", f"{path}?status=pending&limit=1"))[1]["data"]

    await until(are_finished, "the deliveries", TIMEOUT_S)


async def _wait(api: Api, path: str, statuses: tuple[str, ...]) -> None:
    """Wait until the object has one of the statuses."""

    async def is_finished() -> bool:
        return (await api.request("GET", path))[1]["status"] in statuses

    await until(is_finished, f"the end of {path}", TIMEOUT_S)
