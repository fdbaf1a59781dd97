"""A CI job of a fork that sends reports with the public key of the project shop, and the promotion of its runs."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.report_api import Reports, serving_reports_with_ingester

COMMIT: Final = "ab" * 20
RUN: Final = "untrusted:github-7:shop"
CLAIMS: Final = {"branch": "main", "base_branch": "weak", "commit_sha": COMMIT, "pull_request": "7"}
REPORT: Final = b"""<testsuite>
    <testcase classname="auth.login" name="logs in" file="evil.py"><failure message="evil"/></testcase>
    <testcase classname="auth.login" name="hidden" file="evil.py"/>
</testsuite>"""

Cases = dict[str, tuple[str | None, bool]]  # name -> file, and whether the case is trusted
TRUSTED: Final[Cases] = {"logs in": ("login.py", True), "signs up": ("login.py", True)}


@dataclass
class Fork:
    """A CI job of a fork, with the public key of the project shop."""

    reports: Reports
    key: str

    async def upload(self, run_id: str = RUN, body: Any = REPORT, **params: str) -> Any:
        """Upload a report, and return its finished receipt, which the fork reads itself."""
        response = await self.reports.post(body, run_id, {**CLAIMS, **params}, self.key)
        assert response.status == 202, await response.text()
        receipt = await response.json()
        return await self.reports.api.get(f"/v1/receipts/{receipt['id']}", {"wait": "20"}, key=self.key)

    async def send(self, method: str, path: str, data: bytes | None = None, key: str | None = None) -> tuple[int, Any]:
        """Send a request, and return its status and error, if there is one."""
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "text/plain"}
        async with self.reports.api.http.request(method, path, data=data, headers=headers) as response:
            return response.status, (await response.json()).get("error")


@asynccontextmanager
async def serving_fork(database_url: str, folder: Path) -> AsyncIterator[Fork]:
    """Serve the API and a worker, with a trusted run of the project, which then allows untrusted uploads."""
    async with serving_reports_with_ingester(database_url, folder, untrusted_files_per_day=9) as reports:
        api = reports.api
        await reports.ingest(re.sub(b"evil.py|<failure.*?>", b"login.py", REPORT).replace(b"hidden", b"signs up"))
        assert (await api.get("/v1/projects/shop"))["untrusted_uploads"] is False
        opened = Fork(reports, (await api.make_key("public", project_id="shop")).key)
        assert (await opened.reports.post(REPORT, RUN, key=opened.key)).status == 403  # not allowed yet
        changed = await api.send("PATCH", "/v1/projects/shop", json={"untrusted_uploads": True})
        assert (await changed.json())["untrusted_uploads"] is True
        yield opened


async def promote(
    reports: Reports, receipts: Sequence[Any], run_id: str = RUN, key: str | None = None, **body: Any
) -> tuple[int, Any]:
    """Request the promotion of a run with these receipts, and return the status and the response."""
    named = {"commit_sha": COMMIT, "receipts": [receipt["id"] for receipt in receipts], **body}
    response = await reports.api.send("POST", f"/v1/runs/{run_id}/promote", key=key, json=named)
    return response.status, await response.json()


async def promote_completely(reports: Reports, receipts: Sequence[Any], run_id: str = RUN, **body: Any) -> Any:
    """Promote a run, and return it after the workers have stored its reports."""
    status, run = await promote(reports, receipts, run_id, **body)
    assert (status, run["trusted"], run["complete"], run["status"]) == (202, True, False, "error"), run
    for receipt in receipts:
        assert (await reports.wait_until_finished(receipt))["status"] == "stored"
    return await reports.api.get(f"/v1/runs/{run_id}")


async def find_rows(reports: Reports, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return [tuple(row) for row in await reports.api.store.pool.fetch(query)]


async def find_cases(reports: Reports) -> Cases:
    """Return the file of each case by its name, and whether the case is trusted."""
    return {
        name: (file, trusted)
        for name, file, trusted in await find_rows(reports, "SELECT name, file, trusted FROM cases")
    }
