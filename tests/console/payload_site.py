"""A console whose data contain payloads: each payload is in every field of a project that the pages show."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yarl import URL

from service.database.database import as_organization
from service.domain.ids import new_id
from service.events.operations import number_events
from service.identity.members import store as members_store
from service.identity.members.model import Identity
from service.settings import Settings
from service.states.update_states import StateUpdater
from service.storage import Storage
from tests.console.browser.demo_site import DemoSite
from tests.console.jobs import JobRuns, ingest_jobs
from tests.console.payloads import flaky_attempts, report, result_fields, run_fields
from tests.members import add_member
from tests.report_api import Reports, new_ingester, running_ingester
from tests.run_events import run_event
from tests.served import Api

FILES = {
    "page.html": ("text/html", b"<script>top.xss=1</script>"),
    "image.svg": ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" onload="top.xss=1"></svg>'),
    "image.png": ("image/png", b"<script>top.xss=1</script>"),
    "text.txt": ("text/plain", b"<script>top.xss=1</script>\x1b[31m<img src=x onerror=top.xss=1>"),
}
_STATUSES = ("failed", "error", "passed", "skipped", "canceled")


class PayloadWriter:
    """Stores the data of one payload, and finds the objects that the pages show."""

    def __init__(self, api: Api, storage_url: str, payload: str, url: str) -> None:
        self._api = api
        self._storage_url = storage_url
        self._payload = payload
        self._url = url

    async def write(self) -> DemoSite:
        """Store runs, files, and all objects that users create."""
        await self._ingest_runs()
        fields = {**run_fields(self._payload, self._url), "project_id": self._payload}
        jobs = await ingest_jobs(self._api, self._payload, [self._payload[:200], "other"], **fields)
        site = await self._find_site(jobs)
        await self._attach_files(site.failing["id"])
        return replace(site, quarantine_id=await self._send_requests(site))

    async def write_report(self, site: DemoSite) -> DemoSite:
        """Store a report. The failing result of the returned site has output."""
        return replace(site, failing=await self._ingest_report())

    async def _ingest_runs(self) -> None:
        payload = self._payload
        await self._ingest(f"{payload} base", self._results("passed", "failed", "failed"))
        await self._ingest(payload, self._results("failed", "failed", "passed"))
        await self._ingest(f"{payload} pull", self._results("failed", "passed", "error"))
        await self._ingest(f"{payload} part", self._results("failed"), expected_shards=2, shard=1)
        await self._break_cases()

    async def _break_cases(self) -> None:
        """Let the cases that always fail be broken, because the branch of the runs is the default branch."""
        path = f"/v1/projects/{quote(self._payload, safe='')}"
        await self._send("PATCH", path, {"default_branch": self._payload})
        await number_events(self._api.store.pool)
        await StateUpdater(self._api.store.pool).update()

    async def _ingest(self, run_id: str, results: list[Any], **fields: Any) -> None:
        event = run_event(run_id[:200], results, time=None, **run_fields(self._payload, self._url), **fields)
        [outcome] = await self._api.store.ingest(event)
        assert outcome.reason is None, outcome

    def _results(self, *statuses: str) -> list[dict[str, Any]]:
        results = [
            {**result_fields(self._payload, self._url, f"case-{position}"), "status": status, "duration_ms": 5}
            for position, status in enumerate((*statuses, *_STATUSES))
        ]
        flaky = {**result_fields(self._payload, self._url, "flaky"), "status": "passed"}
        return [*results, {**flaky, "attempts": flaky_attempts(self._payload, self._url)}]

    async def _find_site(self, jobs: JobRuns) -> DemoSite:
        run_id = self._payload[:200]

        async def first(**filters: str) -> Any:
            return (await self._api.get("/v1/results", {"run_id": run_id, "limit": "1", **filters}))["data"][0]

        groups = (await self._api.get("/v1/failures", {"run_id": run_id}))["data"]
        broken = await self._api.get("/v1/cases", {"project_id": self._payload, "state": "broken"})
        return DemoSite(
            self._api,
            await first(status="failed"),
            await first(flaky="true"),
            await first(status="passed"),
            broken["data"][0]["id"],
            groups[0]["id"],
            quarantine_id="",
            member_id=await self._add_members(),
            rerun=jobs.rerun,
            missing_run_id=jobs.missing_run_id,
            project_id=self._payload,
            run_id=run_id,
            pull_request_run_id=f"{self._payload} pull"[:200],
            incomplete_run_id=f"{self._payload} part"[:200],
        )

    async def _add_members(self) -> str:
        """Add a group and a person, who has signed in, and return the ID of the member of the person."""
        email = f"{new_id('mem')}@example.org"
        identity = Identity("https://login.example.org", email, email, self._payload)
        async with as_organization(self._api.resources.pool, self._api.org_id) as connection:
            await members_store.record_person(connection, self._api.org_id, new_id("per"), identity)
        await add_member(self._api, group=self._payload, project_id=self._payload)
        member_id = await add_member(self._api, email, project_id=self._payload)
        bind = "UPDATE members SET person_id = (SELECT person_id FROM people WHERE email = $2) WHERE member_id = $1"
        await self._api.store.pool.execute(bind, member_id, email)
        return member_id

    async def _attach_files(self, result_id: str) -> None:
        folder = self._payload.replace("\\", "").replace("//", "/")  # a name must be a relative path
        for name, (content_type, content) in FILES.items():
            await self._api.attach(result_id, f"{folder} {name}", content, content_type)

    async def _send_requests(self, site: DemoSite) -> str:
        """Create the objects of users, and return the ID of a quarantine with globs."""
        payload, url = self._payload, f"https://tickets.example.com/{self._payload.replace(' ', '')}"
        texts = {"reason": payload, "owner": payload, "ticket_url": url}
        globs = {"project_id": payload, "suite": payload, "name": "case-0*"}
        await self._send("PUT", "/v1/gates/release", {"policy": {"max_failures": 0}})
        path = f"/v1/runs/{quote(site.run_id, safe='')}/decisions"
        decision = await self._send("POST", path, {"gate": "release"})
        await self._send("POST", f"/v1/decisions/{decision['id']}/waiver", {"reason": payload})
        quarantine = await self._send("POST", "/v1/quarantines", {**globs, **texts})
        await self._send("POST", "/v1/quarantines", {"case": site.failing["case"], **texts})
        await self._send("PATCH", f"/v1/failures/{site.group_id}", {"ticket_url": url})
        await self._send("POST", "/v1/results/export", {"format": "csv", "filter": {"project_id": payload}})
        return str(quarantine["id"])

    async def _send(self, method: str, path: str, document: Mapping[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self._api.key}"}
        response = await self._api.http.request(method, URL(path, encoded=True), json=document, headers=headers)
        body = await response.json()
        assert response.status < 300, body
        return body

    async def _ingest_report(self) -> Any:
        """Upload a report, and return the first of its results, which has output."""
        run_id = f"{self._payload} report"[:200]
        reports = Reports(self._api, Storage(self._storage_url))
        ingester = new_ingester(Settings(artifacts_url=self._storage_url), self._api.store.pool)
        path = URL(f"/v1/runs/{quote(run_id, safe='')}/report", encoded=True).with_query(project_id=self._payload)
        headers = {"Authorization": f"Bearer {self._api.key}", "Content-Type": "application/xml"}
        async with running_ingester(reports, ingester):
            response = await self._api.http.post(path, data=report(self._payload), headers=headers)
            receipt = await reports.wait_until_finished(await response.json())
        assert receipt["status"] == "stored", receipt
        return (await self._api.get("/v1/results", {"run_id": run_id, "status": "failed"}))["data"][0]


async def fill_pages(api: Api) -> None:
    """Store enough runs for a second page of lists."""
    await api.store.ingest(*[run_event(f"filler-{number}") for number in range(60)])


def storage_of(folder: Path) -> str:
    """Return the URL of a storage in the folder."""
    return (folder / "files").as_uri()
