"""An API and a worker that ingests reports, with one database and one storage, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse

from consumers.relay import EmbeddedQueue
from consumers.tasks import TaskRunner
from service.reports.conversion.processes import ParserProcess
from service.reports.ingest_reports import ReportIngester
from service.reports.store import LeasedReport
from service.reports.store_report import ReportStore
from service.settings import Settings
from service.storage import Storage
from service.tasks.model import REPORTS
from tests.served import Api, Params, list_of, serve
from tests.stored import RETENTION

TIMEOUT_S = 60
PASSING = b'<testsuite name="shop"><testcase name="pays" time="0.5"/><testcase name="ships"/></testsuite>'

# Shared by all tests of a session, because a start is as slow as most tests.
PARSERS: list[ParserProcess] = []


@dataclass
class Reports:
    """A client that sends reports and reads their receipts, as a CI job does."""

    api: Api
    storage: Storage

    async def post(
        self, body: Any, run_id: str = "run_1", params: Params = (), key: str | None = None, **headers: str
    ) -> ClientResponse:
        sent = {"Authorization": f"Bearer {key or self.api.key}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        query = [("project_id", "shop"), *list_of(params)]
        return await self.api.http.post(f"/v1/runs/{run_id}/report", data=body, params=query, headers=sent)

    async def send(self, body: Any, run_id: str = "run_1", params: Params = (), **headers: str) -> Any:
        """Send a report and return its first receipt."""
        response = await self.post(body, run_id, params, **headers)
        receipt = await response.json()
        assert response.status == 202, receipt
        assert response.headers["Location"] == f"/v1/receipts/{receipt['id']}"
        return receipt

    async def wait_until_finished(self, receipt: Any) -> Any:
        """Return the receipt after it is finished."""
        async with asyncio.timeout(TIMEOUT_S):
            while (found := await self.receipt(receipt))["status"] in ("queued", "processing"):
                pass
        return found

    async def receipt(self, receipt: Any) -> Any:
        return await self.api.get(f"/v1/receipts/{receipt['id']}", {"wait": "20"})

    async def ingest(self, body: Any, run_id: str = "run_1", params: Params = (), **headers: str) -> Any:
        """Send a report and return its finished receipt."""
        return await self.wait_until_finished(await self.send(body, run_id, params, **headers))

    async def artifacts(self, run_id: str = "run_1") -> list[Any]:
        """Return the artifacts of the first result of the run and of the run itself."""
        page = await self.api.get("/v1/results", {"run_id": run_id, "limit": "1"})
        paths = f"/v1/results/{page['data'][0]['id']}/artifacts", f"/v1/runs/{run_id}/artifacts"
        lists = [(await self.api.get(path))["data"] for path in paths]
        return list({artifact["id"]: artifact for listed in lists for artifact in listed}.values())


def new_ingester(
    settings: Settings, pool: Any, parsers: list[ParserProcess] | None = None, slots_per_organization: int = 100,
    storage: Storage | None = None,
) -> ReportIngester:  # fmt: skip
    store = ReportStore(pool, RETENTION, settings.link_base)
    chosen_storage = storage or Storage(settings.storage_url)
    chosen_parsers = PARSERS if parsers is None else parsers
    return ReportIngester(pool, chosen_storage, store, settings.report_limits, slots_per_organization, chosen_parsers)


@asynccontextmanager
async def running_ingester(reports: Reports, ingester: ReportIngester, slots: int = 2) -> AsyncIterator[None]:
    """Run a worker without a broker in this process, and stop it as SIGTERM does."""
    stopping = asyncio.Event()
    runner = TaskRunner[LeasedReport]("reports", ingester.lease, ingester.ingest, slots, stopping)
    queue = EmbeddedQueue(reports.api.store.pool, {REPORTS: runner.handle}, stopping)
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.run())
        group.create_task(runner.run())
        try:
            yield
        finally:
            stopping.set()


@asynccontextmanager
async def serving_reports(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Reports]:
    """Run only the API."""
    chosen = {"artifacts_url": (folder / "files").as_uri(), **settings}
    async with serve(database_url, **chosen) as api:
        yield Reports(api, Storage(chosen["artifacts_url"]))


@asynccontextmanager
async def serving_reports_with_ingester(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Reports]:
    """Run the API and a worker."""
    async with serving_reports(database_url, folder, **settings) as reports:
        chosen = Settings(artifacts_url=(folder / "files").as_uri(), **settings)
        async with running_ingester(reports, new_ingester(chosen, reports.api.store.pool)):
            yield reports
