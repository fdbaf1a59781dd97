"""Increments of exports, applied to a copy, lead to the complete export after any changes in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.database import database
from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId, new_id
from service.events import store as events_store
from service.events.model import STORED, InternalEvent
from service.events.operations import number_events
from service.exports.operations import find_changed_after
from service.exports.write_export import ExportProgress, ExportWriter
from service.retention.deletion import delete_run
from tests.databases import cloned_database
from tests.exporting import STRATEGY, export_spec
from tests.run_events import result, run_event
from tests.stored import Store, open_store

RUNS: Final = ("a", "b", "c")
CASES: Final = ("pays", "ships", "logs in")
STATUSES: Final = ("passed", "failed", "skipped")

Event: st.SearchStrategy[Any] = st.builds(
    dict,
    action=st.just("event"), run_id=st.sampled_from(RUNS), shard=st.sampled_from((0, 1, 2)),
    minute=st.integers(0, 9), notify=st.booleans(), branch=st.sampled_from(("main", "fix")),
    results=st.dictionaries(st.sampled_from(CASES), st.sampled_from(STATUSES), max_size=3),
)  # fmt: skip
Deletion: st.SearchStrategy[Any] = st.builds(dict, action=st.just("delete"), run_id=st.sampled_from(RUNS))
Action: st.SearchStrategy[Any] = st.one_of(
    Event, Event, Event, Deletion, st.just({"action": "number"}), st.just({"action": "increment"}),
)  # fmt: skip


@dataclass
class WrittenFile:
    """A file in memory."""

    data: bytearray = field(default_factory=bytearray)

    async def write(self, data: bytes) -> None:
        self.data += data


@dataclass
class Copy:
    """A copy of all runs and results, which increments update as docs/exports.md describes."""

    store: Store
    writer: ExportWriter
    position: str | None = None
    runs: dict[str, Any] = field(default_factory=dict)
    results: dict[str, list[Any]] = field(default_factory=dict)

    async def read(
        self, content: str, position: str | None, filters: dict[str, str] | None = None
    ) -> tuple[list[Any], str]:
        """Return the rows of an export and its position."""
        request = {"format": "ndjson", "content": content, "updated_since": position, "filter": filters}
        document = {name: value for name, value in request.items() if value is not None}
        changed_after = None
        if position is not None:
            async with self.store.pool.acquire() as connection:
                changed_after = await find_changed_after(connection, 1, position)  # type: ignore[arg-type]
        file, progress = WrittenFile(), ExportProgress()
        spec = export_spec(document, changed_after)
        await self.writer.write(1, spec, file, progress)  # type: ignore[arg-type]
        return [orjson.loads(line) for line in bytes(file.data).splitlines()], progress.position

    async def update(self) -> None:
        runs, position = await self.read("runs", self.position)
        results, _ = await self.read("results", self.position)
        for run in runs:
            self.runs.pop(run["run_id"], None)
            self.results.pop(run["run_id"], None)
            if not run["deleted"]:
                self.runs[run["run_id"]] = run
        for run_id in {row["run_id"] for row in results}:
            self.results[run_id] = [row for row in results if row["run_id"] == run_id]
        self.position = position

    async def assert_complete(self) -> None:
        runs, _ = await self.read("runs", None)
        results, _ = await self.read("results", None)
        assert sorted(self.runs.values(), key=str) == sorted(runs, key=str)
        assert sorted((row for rows in self.results.values() for row in rows), key=str) == sorted(results, key=str)


async def perform(store: Store, copy: Copy, action: dict[str, Any]) -> None:
    match action:
        case {"action": "event", "minute": minute, "run_id": run_id, "shard": shard, "results": statuses}:
            rows = [result(name, status) for name, status in statuses.items()]
            time = f"2026-05-20T11:{minute:02}:00Z"  # also before the times of earlier events
            fields = {"notify": action["notify"], "branch": action["branch"], "final": False}
            if shard:
                fields |= {"shard": shard}
            (outcome,) = await store.ingest(run_event(run_id, rows, time=time, **fields))
            assert outcome.status == "stored", outcome
        case {"action": "delete", "run_id": run_id}:
            if await store.run(run_id):
                async with store.pool.acquire() as connection, notifying_transaction(connection):
                    await delete_run(connection, 1, run_id, None)  # type: ignore[arg-type]
        case {"action": "number"}:
            await number_events(store.pool)
        case _:
            await copy.update()


def check(postgres_url: str, template: str, actions: list[dict[str, Any]]) -> None:
    with cloned_database(postgres_url, template) as url:
        asyncio.run(_check(url, actions))


async def _check(url: str, actions: list[dict[str, Any]]) -> None:
    async with open_copy(url) as (store, copy):
        for action in actions:
            await perform(store, copy, action)
        await copy.update()
        await copy.assert_complete()


@asynccontextmanager
async def open_copy(url: str) -> AsyncIterator[tuple[Store, Copy]]:
    async with open_store(url) as store:
        rows = await database.open_pool(url, "results_api", 4)
        try:
            yield store, Copy(store, ExportWriter(rows, url, STRATEGY))
        finally:
            await database.close_pool(rows)


async def test_change_that_commits_after_a_later_one_is_in_the_next_increment(database_url: str) -> None:
    async with open_copy(database_url) as (store, copy):
        await store.ingest(run_event("a"), run_event("b"))
        async with store.pool.acquire() as connection, notifying_transaction(connection):
            await connection.execute("UPDATE runs SET revision = 7 WHERE org_id = 1 AND run_id = 'a'")
            await events_store.insert_internal(
                connection, [InternalEvent(OrgId(1), new_id("evt"), STORED, "shop", "a")]
            )
            await store.ingest(run_event("b", [result("new")], time="2026-05-20T12:00:01Z"))
            await number_events(store.pool)
            await copy.update()
            assert copy.runs["a"]["revision"] == 1
        await number_events(store.pool)
        await copy.update()
        assert copy.runs["a"]["revision"] == 7
        await copy.assert_complete()


def test_deleted_changed_and_silent_runs_are_in_the_next_increment(postgres_url: str, template: str) -> None:
    first: dict[str, Any] = {
        "action": "event",
        "run_id": "a",
        "shard": 0,
        "minute": 5,
        "notify": True,
        "branch": "main",
    }
    actions: list[dict[str, Any]] = [
        first | {"results": {"pays": "failed", "ships": "passed"}},
        first | {"run_id": "b", "results": {"pays": "passed"}},
        {"action": "number"},
        {"action": "increment"},
        first | {"minute": 1, "run_id": "c", "notify": False, "results": {"pays": "passed"}},  # a back-dated import
        first | {"minute": 6, "results": {"pays": "passed"}, "branch": "fix"},  # a correction
        {"action": "delete", "run_id": "b"},
    ]
    check(postgres_url, template, actions)


@pytest.mark.parametrize(
    ("filters", "project_id", "time"),
    [
        ({"project_id": "shop"}, "other", "2026-05-20T12:00:00Z"),
        ({"to": "2026-05-21T00:00:00Z"}, "shop", "2026-05-22T12:00:00Z"),
    ],
)
async def test_run_that_was_deleted_and_then_stored_outside_the_filter_is_deleted_in_the_next_increment(
    database_url: str, filters: dict[str, str], project_id: str, time: str
) -> None:
    async with open_copy(database_url) as (store, copy):
        await store.ingest(run_event("a", project_id="shop", time="2026-05-20T12:00:00Z"))
        rows, position = await copy.read("runs", None, filters)
        assert [(row["run_id"], row["deleted"]) for row in rows] == [("a", False)]
        await perform(store, copy, {"action": "delete", "run_id": "a"})
        await store.ingest(run_event("a", project_id=project_id, time=time))
        rows, _ = await copy.read("runs", position, filters)
        assert [(row["run_id"], row["deleted"]) for row in rows] == [("a", True)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(Action, min_size=4, max_size=25))
def test_increments_lead_to_the_complete_export(
    postgres_url: str, template: str, actions: list[dict[str, Any]]
) -> None:
    check(postgres_url, template, actions)
