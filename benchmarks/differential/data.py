"""Fill the database of a revision through its public interfaces: events, reports, requests, and commands."""

import asyncio
import time
from contextlib import ExitStack
from typing import Any, Final

import aio_pika
import aiohttp
import asyncpg
import orjson

from benchmarks.differential.events import MONTHS, RUNS, events
from benchmarks.query_load import Server, serving
from benchmarks.revisions import Version
from consumers.topology import RUN_COMPLETED, Topology

_TIMEOUT_S: Final = 120
_REPORTS: Final = 10
_PROCESSED: Final = "SELECT count(*) FROM receipts WHERE status NOT IN ('queued', 'processing')"
_REPORT: Final = (
    b'<testsuite name="junit"><system-out>output of the suite</system-out><testcase classname="a" name="works"/>'
    b'<testcase name="fails"><failure message="expected 200 got 503"/><system-out>output</system-out></testcase>'
    b"</testsuite>"
)


def fill(version: Version, settings: dict[str, str]) -> list[str]:
    """Store runs, results, artifacts, and quarantines. Delete some runs, and let the results of the oldest expire.

    Return a key of the organization, and keys of two projects.
    """
    version.run("organizations", "create", "acme")
    version.run("organizations", "create", "other")
    key = version.run("keys", "create", "--organization=acme", "--role=admin")
    with ExitStack() as stack:
        server = stack.enter_context(serving(version.database_url, key, code=version.code, **settings))
        stack.enter_context(version.process("consume", "runs", "reports", **settings))
        keys = asyncio.run(_fill(version.database_url, settings["RESULTS_AMQP_URL"], server))
    days = 30 * (MONTHS - 2)
    version.run("retention", **settings, RESULTS_RETENTION_DAYS=str(days), RESULTS_RETENTION_GRACE_DAYS="0")
    return keys


async def _fill(database_url: str, amqp_url: str, server: Server) -> list[str]:
    bodies = list(events())
    await _publish(amqp_url, bodies)
    connection = await asyncpg.connect(database_url)
    await _until(connection, len(bodies))
    headers = {"Authorization": f"Bearer {server.key}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=headers) as session:
        await _change(session, connection)
        keys = [await _create_key(session, project) for project in (None, "shop", "blog")]
    await _until(connection, len(bodies) + _REPORTS)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.close()
    return keys


async def _create_key(session: aiohttp.ClientSession, project: str | None) -> str:
    body = {"name": "differential", "role": "engineer", "project_id": project}
    async with session.post("/v1/api-keys", json=body) as response:
        key: str = (await response.json())["key"]
        return key


async def _publish(url: str, bodies: list[dict[str, Any]]) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        topology = Topology()
        await topology.declare(channel)
        exchange = await channel.get_exchange(topology.runs_exchange)
        for body in bodies:
            await exchange.publish(aio_pika.Message(orjson.dumps(body)), routing_key=RUN_COMPLETED)


async def _until(connection: asyncpg.Connection, receipts: int) -> None:
    """Wait until this number of events and reports is processed."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (found := await connection.fetchval(_PROCESSED)) < receipts:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {receipts} receipts")
        await asyncio.sleep(0.2)


async def _change(session: aiohttp.ClientSession, connection: asyncpg.Connection) -> None:
    """Upload reports and artifacts, set tickets, quarantine cases, and pin and delete runs."""

    async def send(method: str, path: str, **options: Any) -> None:
        async with session.request(method, path, **options) as response:
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {await response.text()}")

    for number in range(_REPORTS):
        path = f"/v1/runs/report_{number}/report?project_id=shop&branch=main&part=unit"
        await send("POST", path, data=_REPORT, headers={"Content-Type": "application/xml"})
    results = "SELECT result_id(run_key, case_key) FROM results WHERE org_id = 1 ORDER BY case_key LIMIT 40"
    for [result] in await connection.fetch(results):
        await send("PUT", f"/v1/results/{result}/artifacts/file%20ü.txt?kind=log", data=result.encode())
    groups = "SELECT DISTINCT fingerprint FROM result_details WHERE org_id = 1 AND fingerprint IS NOT NULL LIMIT 3"
    for [group] in await connection.fetch(groups):
        path = f"/v1/failures/fp1_{group & 0xFFFF_FFFF_FFFF_FFFF:016x}"
        await send("PATCH", path, json={"ticket_url": "https://tickets.example.com/1"})
    for suite in ("auth", "pay.*"):
        body = {"project_id": "shop", "suite": suite, "name": "case*", "reason": "flaky"}
        await send("POST", "/v1/quarantines", json=body)
    for number in range(0, RUNS, 100):
        await send("DELETE", f"/v1/runs/run_{number}")
        await send("PUT", f"/v1/runs/run_{number + 1}/pin")
