"""A served console with the demo history of `make run`, and the IDs of the objects that its pages show."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from service.database.database import as_organization
from service.dev import demo_requests
from service.dev.first_data import read_reports
from service.dev.history import INCOMPLETE_RUN, MAIN_RUNS, NEW_FAILURE, PROJECT, PULL_REQUEST_RUN, history, run_id_of
from service.events.operations import number_events
from service.identity.publishers import store as publishers_store
from service.identity.publishers.store import NewExchange
from service.states.update_states import StateUpdater
from tests.console.jobs import JobRuns, ingest_jobs
from tests.owners import set_owners
from tests.run_events import run_event
from tests.served import Api, serve

OWNER: Final = "@example/release-engineering"
_JOBS: Final = ["e2e", "integration", "lint", "unit (3.11)", "unit (3.13)"]
_OWNERS: Final = {  # of the cases that match the conditions
    "c.suite LIKE 'tests.%'": [OWNER], "c.suite LIKE '%reports%'": [OWNER, "@example/reports"],
    "c.suite LIKE '%domain%'": [], "c.suite LIKE '%dev%'": ["ann.example@quality.example.org"],
}  # fmt: skip
_EMAIL: Final = "ann.example@quality.example.org"
_CONTEXT: Final = {
    "project_id": "webshop", "title": "Pay with vouchers", "author": "Ann Example", "workflow": "tests",
    "pipeline": "github-812", "commit_sha": "8f0c1d8b54f4d0b7e3c9e9a4fd6f3a1b2c3d4e5f", "pull_request": "41",
    "repository_url": "https://github.com/example/webshop",
    "ci_url": "https://github.com/example/webshop/actions/runs/812",
    "job_url": "https://github.com/example/webshop/actions/runs/812/job/3",
}  # fmt: skip


@dataclass(frozen=True)
class DemoSite:
    """The API with its data. `failing`, `flaky`, and `passed` are results of the newest run of main.

    `broken_case` is the ID of a case. `rerun` is a result that passed in the second attempt of its CI job, in the run
    that lacks jobs.
    """

    api: Api
    failing: Any
    flaky: Any
    passed: Any
    broken_case: str
    group_id: str
    quarantine_id: str
    rerun: Any
    missing_run_id: str
    member_id: str
    project_id: str = PROJECT
    run_id: str = run_id_of(MAIN_RUNS)
    pull_request_run_id: str = run_id_of(PULL_REQUEST_RUN)
    incomplete_run_id: str = run_id_of(INCOMPLETE_RUN)
    queued_run_id: str = "demo-queued"

    @property
    def origin(self) -> str:
        """The URL of the server, without a path."""
        return origin_of(self.api)


def origin_of(api: Api) -> str:
    """Return the URL of a served API, without a path."""
    return str(api.http.make_url("/")).rstrip("/")


@asynccontextmanager
async def serving_demo(database_url: str, folder: Path) -> AsyncIterator[DemoSite]:
    """Serve the API and the console, with the demo history stored."""
    async with serve(database_url, artifacts_url=(folder / "files").as_uri(), rate_limit="off") as api:
        api.key = (await api.make_key("admin", name="release team")).key
        await _store_history(api)
        assert await asyncio.to_thread(demo_requests.send, origin_of(api), api.key) is None
        site = await _find_objects(api, await ingest_jobs(api, "github-812", _JOBS, **_CONTEXT))
        await _record_limits(site)
        report: dict[str, Any] = {"results": []}
        path = f"/v1/runs/{site.queued_run_id}/report?project_id={site.project_id}"
        assert (await api.send("POST", path, json=report)).status == 202
        yield site


async def _store_history(api: Api) -> None:
    sample = [result for results in read_reports().values() for result in results]
    for run, results in history(sample, datetime.now(UTC)):
        await api.store.ingest(run_event(results=list(results), time=None, **run))
    await set_owners(api.store.pool, _OWNERS)
    await number_events(api.store.pool)
    await StateUpdater(api.store.pool).update()


async def _record_limits(site: DemoSite) -> None:
    """Store the decision of a CI job that stated limits instead of a gate."""
    path = f"/v1/runs/{quote(site.missing_run_id)}/decisions"
    for policy in ({"max_new_failures": 0, "max_missing_parts": 0}, {"max_new_failures": 0}):
        assert (await site.api.send("POST", path, json={"policy": policy, "record": True})).status == 201


async def _find_objects(api: Api, jobs: JobRuns) -> DemoSite:
    run_id = run_id_of(MAIN_RUNS)

    async def first(**filters: str) -> Any:
        return (await api.get("/v1/results", {"run_id": run_id, "limit": "1", **filters}))["data"][0]

    groups = (await api.get("/v1/failures", {"run_id": run_id}))["data"]
    await _add_publishers(api)
    return DemoSite(
        api,
        await first(status="failed", q=NEW_FAILURE),
        await first(flaky="true"),
        await first(status="passed"),
        await _find_broken(api),
        groups[0]["id"],
        (await api.get("/v1/quarantines"))["data"][0]["id"],
        jobs.rerun,
        jobs.missing_run_id,
        await _add_members(api),
    )


async def _find_broken(api: Api) -> str:
    broken = await api.get("/v1/cases", {"project_id": PROJECT, "state": "broken", "limit": "1"})
    return str(broken["data"][0]["id"])


async def _add_publishers(api: Api) -> None:
    """Add an enabled and a disabled publisher, and an accepted and a refused exchange."""
    claims = {"repository_id": "1296269", "repository_owner_id": "583231", "environment": "staging"}
    github = {"provider": "github", "project_id": PROJECT, "claims": claims, "role": "engineer"}
    other = {
        "provider": "oidc", "issuer": "https://ci.quality.example.org/realms/pipelines", "enabled": False,
        "project_id": PROJECT, "claims": {"pipeline": "nightly end-to-end tests"}, "name": "Nightly tests",
    }  # fmt: skip
    responses = [await api.send("POST", "/v1/publishers", json=body) for body in (github, other)]
    assert [response.status for response in responses] == [201, 201]
    publisher = await responses[0].json()
    job = f"{_CONTEXT['repository_url']}/actions/runs/812"
    accepted = NewExchange(
        publisher["id"], publisher["issuer"], b"", job, PROJECT, "key_1", None, claims | {"ref": "refs/heads/main"}
    )
    refusal = "environment must be 'staging', but the token has no such claim"
    async with as_organization(api.resources.pool, api.org_id) as connection:
        for exchange in (accepted, accepted._replace(refusal=refusal, publisher_id=None)):
            await publishers_store.insert_exchange(connection, api.org_id, exchange)


async def _add_members(api: Api) -> str:
    """Add a group and a person, and return the ID of the person."""
    for member in ({"group": "quality", "role": "engineer", "project_id": PROJECT}, {"email": _EMAIL, "role": "admin"}):
        response = await api.send("POST", "/v1/members", json=member)
        assert response.status == 201, await response.text()
    return str((await response.json())["id"])
