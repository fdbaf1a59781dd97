"""An API and a worker that reads reports, over one database and one storage, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse

from consumers.jobs import JobRunner
from consumers.relay import EmbeddedQueue
from service.domain.queues import REPORTS
from service.reports.parser_processes import ParserProcess
from service.settings import Settings
from service.storage import Storage
from service.store.reports import ClaimedReport
from service.usecases.reports.ingest_reports import ReportIngester
from service.usecases.reports.store_report import ReportStore
from tests.api.served import Api, Params, list_of, serve
from tests.stored import RETENTION

PATIENCE_S = 60
PASSING = b'<testsuite name="shop"><testcase name="pays" time="0.5"/><testcase name="ships"/></testsuite>'

# Starting one takes as long as most tests; they end with the session.
CHILDREN: list[ParserProcess] = []


@dataclass
class Reports:
    """What a CI job does: sends reports and looks at what became of them."""

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
        """The receipt as it is at first."""
        response = await self.post(body, run_id, params, **headers)
        receipt = await response.json()
        assert response.status == 202, receipt
        assert response.headers["Location"] == f"/v1/receipts/{receipt['id']}"
        return receipt

    async def settled(self, receipt: Any) -> Any:
        """The receipt once nothing more will become of it."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.receipt(receipt))["status"] in ("queued", "processing"):
                pass
        return found

    async def receipt(self, receipt: Any) -> Any:
        return await self.api.get(f"/v1/receipts/{receipt['id']}", {"wait": "20"})

    async def take(self, body: Any, run_id: str = "run_1", params: Params = (), **headers: str) -> Any:
        """Sends a report and waits for what becomes of it."""
        return await self.settled(await self.send(body, run_id, params, **headers))

    async def artifacts(self, run_id: str = "run_1") -> list[Any]:
        """Of the first result that the run lists, those of the run included."""
        page = await self.api.get("/v1/results", {"run_id": run_id, "limit": "1"})
        return list((await self.api.get(f"/v1/results/{page['data'][0]['id']}/artifacts"))["data"])


def new_ingester(settings: Settings, pool: Any, children: list[ParserProcess] | None = None) -> ReportIngester:
    store = ReportStore(pool, RETENTION, settings.link_base)
    storage, limit = Storage(settings.storage_url), settings.report_max_unpacked_bytes
    return ReportIngester(pool, storage, store, limit, CHILDREN if children is None else children)


@asynccontextmanager
async def running_ingester(reports: Reports, ingester: ReportIngester, slots: int = 2) -> AsyncIterator[None]:
    """A worker without a broker in this process, stopped as SIGTERM stops it."""
    stopping = asyncio.Event()
    jobs = JobRunner[ClaimedReport]("reports", ingester.claim, ingester.ingest, slots, stopping)
    queue = EmbeddedQueue(reports.api.store.pool, {REPORTS: jobs.handle}, stopping)
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.run())
        group.create_task(jobs.run())
        try:
            yield
        finally:
            stopping.set()


@asynccontextmanager
async def serving_reports(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Reports]:
    """The API alone."""
    chosen = {"artifacts_url": (folder / "files").as_uri(), **settings}
    async with serve(database_url, **chosen) as api:
        yield Reports(api, Storage(chosen["artifacts_url"]))


@asynccontextmanager
async def serving_reports_with_ingester(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Reports]:
    """The API and a worker."""
    async with serving_reports(database_url, folder, **settings) as reports:
        chosen = Settings(artifacts_url=(folder / "files").as_uri(), **settings)
        async with running_ingester(reports, new_ingester(chosen, reports.api.store.pool)):
            yield reports
