"""An upgrade of a filled database of the last release under load, with a crash and a return to the last release."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.broker import Broker, until
from tests.run_events import result, run_event
from tests.upgrade.filling import DEAD_LETTERS, Filled, filled, wrong_counts
from tests.upgrade.load import ORGANIZATION, PROJECT, Balancer, Load, loading, problems
from tests.upgrade.snapshots import Difference, Request, Snapshot, differences, read, record, walk
from tests.upgrade.versions import Api, Deployment, Instance, Process, Version, create_key, deployment

pytestmark = pytest.mark.nightly

# The values that a new version returns otherwise. The guide states them. All other values stay; new fields are added.
DIFFERENCES: Final = (
    Difference("/v1/results/res_[0-9a-f]+$", "failure", None, "a flaky result shows its last failing attempt"),
)
# The artifacts of a run, with 0 as their case, are in its list. Lists of results contain only the exports of them.
# Outputs of suites belong to the run: migration 0021 deletes their artifacts. The output of the upload contains them.
_ARTIFACT_OF_RUN: Final = re.compile("art_[0-9a-f]{32}0{16}")
_SUITE_OUTPUT: Final = re.compile(r"(report-)?(suite-system-(out|err)|run-(stdout|stderr|debug-trace|messages))\.txt")

_CURSORS: Final = (
    "/v1/results",
    "/v1/results?status=failed&status=error",
    "/v1/runs",
    "/v1/receipts",
    "/v1/events",
    "/v1/cases?project_id=parts",
)


@dataclass
class Upgrade:
    """The state of the upgrade: its processes, the load on them, and what the last release returned."""

    old: Version
    new: Version
    processes: Deployment
    balancer: Balancer
    load: Load
    key: str  # of the organization with the data
    data: Filled
    before: Snapshot
    instances: list[Instance]  # oldest first
    consumers: list[Process]

    async def replace_instance(self, version: Version) -> Api:
        """Replace the oldest instance by one of the version, as the guide states."""
        instance = await self.processes.serve(version)
        await self.balancer.replace(self.instances.pop(0), instance)
        self.instances.append(instance)
        return self.processes.api(instance, self.key)

    async def replace_consumers(self, version: Version) -> None:
        """Replace all consumers by one of the version."""
        for consumer in self.consumers:
            await consumer.stop()
        self.consumers = [await self.processes.consume(version)]


async def test_filled_database_is_upgraded_under_load_without_a_loss(
    old: Version, new: Version, release: Path, broker: Broker
) -> None:
    await old.run("schema", "apply")
    key, key_of_load = await create_key(old, "acme"), await create_key(old, ORGANIZATION)
    async with deployment() as processes:
        instances = [await processes.serve(old) for _ in range(2)]
        consumers = [await processes.consume(old) for _ in range(2)]
        api = processes.api(instances[0], key)
        async with filled(api, broker, release / "tests" / "data" / "reports") as data:
            assert await wrong_counts(api, data) == {}
            before = await record(api, sorted(data.projects)[::4])
            cursors = await _first_pages(api)
        balancer = Balancer(api.session, key_of_load, list(instances))
        async with loading(balancer, broker) as load:
            upgrade = Upgrade(old, new, processes, balancer, load, key, data, before, instances, consumers)
            await load.advance()
            await _apply_the_schema(upgrade)
            await _replace_the_consumers(upgrade)
            await _replace_the_instances(upgrade, cursors)
            await _use_the_new_version(upgrade, broker)
            await _return_to_the_release_and_back(upgrade)
            await load.finish()
            assert await problems(load, balancer.next()) == []
        await _replay_the_dead_letters(upgrade)
        assert len(await broker.pop_dead_letters()) == DEAD_LETTERS - 1
        for process in [*upgrade.instances, *upgrade.consumers]:
            await process.stop()


async def _first_pages(api: Api) -> dict[str, tuple[str, int]]:
    """Return the cursor after the first page of each list, and the length of the page."""
    pages = {path: (await api.request("GET", f"{path}{'&' if '?' in path else '?'}limit=7"))[1] for path in _CURSORS}
    return {path: (page["next_cursor"], len(page["data"])) for path, page in pages.items()}


async def _continue(api: Api, cursors: dict[str, tuple[str, int]], before: Snapshot) -> None:
    """Fail if the pages after the cursors don't contain the rest of each list."""
    for path, (cursor, length) in cursors.items():
        request = Request("list", path)
        assert differences({request: before[request][length:]}, {request: await walk(api, path, cursor)}) == []
    events = [each["id"] for each in before[Request("list", "/v1/events")]]
    _, later = await api.request("GET", f"/v1/events?after={events[-1]}&limit=1000")
    assert [each["id"] for each in later["data"]] == events[-2::-1][:1000]


async def _apply_the_schema(upgrade: Upgrade) -> None:
    """Apply the schema and kill a consumer at the same time. The processes of the release return the same as before."""
    applying = asyncio.create_task(upgrade.new.run("schema", "apply"))
    await asyncio.sleep(0.5)
    await upgrade.consumers.pop().kill()
    assert "applied 0002" in await applying
    upgrade.consumers.append(await upgrade.processes.consume(upgrade.old))
    await upgrade.load.advance()
    await _assert_same_in_the_release(upgrade, upgrade.processes.api(upgrade.instances[0], upgrade.key))


async def _replace_the_consumers(upgrade: Upgrade) -> None:
    """Run consumers of both versions. Finish in the new version what waits: exports, reports, and deliveries."""
    first = await upgrade.processes.consume(upgrade.new, "runs", "webhooks", "relay", "upkeep")
    await upgrade.load.advance()
    for consumer in upgrade.consumers:
        await consumer.stop()
    await upgrade.load.queue_export()
    upgrade.load.late_receiver.statuses[:] = [200]
    upgrade.consumers = [first, await upgrade.processes.consume(upgrade.new)]
    await upgrade.load.advance()


async def _replace_the_instances(upgrade: Upgrade, cursors: dict[str, tuple[str, int]]) -> None:
    """Serve with both versions. The new one returns the same, continues with cursors, and repeats responses."""
    api = await upgrade.replace_instance(upgrade.new)
    await upgrade.load.advance()
    await _assert_same_in_the_new_version(upgrade, api)
    await _continue(api, cursors, upgrade.before)
    for mutation in upgrade.data.mutations:
        expected = mutation.status, _without_secrets(mutation.response)
        assert await mutation.repeat(api) == expected, mutation
    await upgrade.replace_instance(upgrade.new)
    await upgrade.load.advance()
    assert await wrong_counts(api, upgrade.data) == {}


async def _use_the_new_version(upgrade: Upgrade, broker: Broker) -> None:
    """Create what the release doesn't know, and correct a run that it stored."""
    api = upgrade.balancer.next()
    quarantine = {"project_id": PROJECT, "name": "b", "suite": "s", "reason": "flaky"}
    assert (await api.request("POST", "/v1/quarantines", json=quarantine))[0] == 201
    assert (await api.request("PUT", "/v1/gates/default", json={"policy": {"max_failures": 0}}))[0] in (200, 201)
    status, decision = await api.request("POST", "/v1/runs/event-0/decisions", json={"gate": "default"})
    assert (status, decision["decision"]) == (201, "blocked")
    path = "/v1/runs/new/report?project_id=new&pipeline=42&author=Ann"
    assert (await api.request("POST", path, json={"results": [result(), result("fails", "failed")]}))[0] == 202
    skipped = result("case 1 1", "skipped")
    later = "2026-08-01T12:00:00Z"
    await broker.publish(run_event("event-1", [skipped], time=later, organization=ORGANIZATION, project_id=PROJECT))

    async def is_corrected() -> bool:
        return bool((await api.request("GET", "/v1/runs/event-1"))[1]["counts"]["skipped"] == 1)

    await until(is_corrected, "the correction")
    await api.wait_for_runs("new")
    _, projects = await api.request("GET", "/v1/projects")
    assert {each["project_id"] for each in projects["data"]} == {PROJECT, "new"}


async def _return_to_the_release_and_back(upgrade: Upgrade) -> None:
    """Replace all processes by those of the release, and then again by those of the new version."""
    newer_cursors = await _first_pages(upgrade.processes.api(upgrade.instances[0], upgrade.key))
    await upgrade.replace_consumers(upgrade.old)
    api = [await upgrade.replace_instance(upgrade.old) for _ in upgrade.instances][-1]
    await upgrade.load.advance()
    await _assert_same_in_the_release(upgrade, api)
    await _continue(api, newer_cursors, upgrade.before)
    for path in ("/v1/results", "/v1/runs", "/v1/events", "/v1/receipts", "/v1/cases?project_id=new"):
        assert await walk(upgrade.balancer.next(), path), path
    await upgrade.replace_consumers(upgrade.new)
    for _ in upgrade.instances:
        await upgrade.replace_instance(upgrade.new)
    await upgrade.load.advance()


async def _replay_the_dead_letters(upgrade: Upgrade) -> None:
    """Replay the dead letters of the release: the organization of one of them exists now."""
    key = await create_key(upgrade.new, "unknown")
    await upgrade.new.run("dead-letters", "replay", "--all")
    await upgrade.processes.api(upgrade.instances[0], key).wait_for_runs("lost")


async def _assert_same_in_the_release(upgrade: Upgrade, api: Api) -> None:
    """Compare what the release returns with the schema of the new version."""
    before = _only(upgrade.before, lambda artifact: not _SUITE_OUTPUT.fullmatch(artifact["name"]))
    found = _only(await read(api, before), lambda _: True)
    assert differences(before, found) == []


async def _assert_same_in_the_new_version(upgrade: Upgrade, api: Api) -> None:
    """Compare what the new version returns, and the artifacts of the runs."""
    before = _only(upgrade.before, lambda artifact: not _SUITE_OUTPUT.fullmatch(artifact["name"]))
    of_results = _only(before, lambda artifact: not _belongs_to_run(artifact))
    assert differences(of_results, await read(api, of_results), DIFFERENCES) == []
    for request, listed in before.items():
        if request.path.endswith("/artifacts"):
            await _assert_listed_by_the_run(api, before, request, listed)


async def _assert_listed_by_the_run(api: Api, before: Snapshot, request: Request, listed: list[Any]) -> None:
    """Fail if an artifact of the run in the list of a result isn't in the list of the run."""
    _, detail = before[Request("object", request.path.removesuffix("/artifacts"))]
    of_run = [artifact for artifact in listed if _belongs_to_run(artifact)]
    found = {each["id"]: each for each in await walk(api, f"/v1/runs/{detail['run_id']}/artifacts")}
    lists = ({request: of_run}, {request: [found.get(each["id"]) for each in of_run]})
    assert differences(*lists) == []


def _belongs_to_run(artifact: Any) -> bool:
    return artifact["kind"] != "export" and bool(_ARTIFACT_OF_RUN.match(artifact["id"]))


def _only(snapshot: Snapshot, is_kept: Callable[[Any], bool]) -> Snapshot:
    """Return the snapshot without the artifacts, and their files, that aren't kept."""
    lists = {request: listed for request, listed in snapshot.items() if request.path.endswith("/artifacts")}
    kept = {request: [each for each in listed if is_kept(each)] for request, listed in lists.items()}
    left_out = {f"/v1/artifacts/{each['id']}" for listed in lists.values() for each in listed if not is_kept(each)}
    return {request: value for request, value in {**snapshot, **kept}.items() if request.path not in left_out}


def _without_secrets(response: Any) -> Any:
    """Return the response to a repeated request, which contains no secret."""
    if not isinstance(response, dict):
        return response
    return {name: None if name in ("secret", "key") else value for name, value in response.items()}
