"""Erasure of an author: no table contains the name afterwards, and everything else stays."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from service.domain.errors import NotFound
from service.retention import erasure, organization_store
from service.retention.erasure import ErasedRows, erase_author
from service.settings import Settings
from tests.database.test_isolation import TENANT_TABLES
from tests.report_api import PASSING, Reports, new_ingester, serving_reports, serving_reports_with_ingester
from tests.run_events import run_event
from tests.stored import Store

NAME = 'Jane "J" Döe'
LATER = "2026-05-20T13:00:00Z"


async def tables_with_name(store: Store, name: str, org_id: int = 1) -> dict[str, int]:
    """Return the number of rows of each table that contain the name, also in stored responses."""
    escaped, found = orjson.dumps(name)[1:-1].decode(), {}
    shown = "to_jsonb(t)::text"
    for row in await store.pool.fetch(TENANT_TABLES):
        query = (
            f"SELECT count(*) FROM {row['relname']} t WHERE org_id = $1"
            f" AND (strpos({shown}, $2) > 0 OR strpos({shown}, encode(convert_to($2, 'UTF8'), 'hex')) > 0)"
        )
        if count := await store.pool.fetchval(query, org_id, escaped):
            found[row["relname"]] = count
    return found


async def erase(store: Store, author: str = NAME) -> ErasedRows:
    async with store.pool.acquire() as connection:
        return await erase_author(connection, "acme", author)


async def test_no_table_contains_the_name_afterwards(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        api, store = reports.api, reports.api.store
        await api.make_organization("other")
        await store.ingest(run_event("renamed", author=NAME, title="A"))
        await store.ingest(run_event("renamed", author="Bob", time=LATER))
        await store.ingest(run_event("foreign", organization="other", author=NAME), run_event("bob", author="Bob"))
        await reports.ingest(PASSING, "uploaded", {"author": NAME, "title": "B", "final": "false"})
        await api.send("POST", "/v1/runs/uploaded/complete", Idempotency_Key="k")
        before = await tables_with_name(store, NAME)
        assert before.keys() == {"runs", "events", "receipts", "idempotency_keys"}
        untouched = await run_and_event(reports, "bob")

        assert await erase(store) == ErasedRows(runs=1, events=before["events"], uploads=1)

        assert await tables_with_name(store, NAME) == {}
        assert await run_and_event(reports, "bob") == untouched
        assert (await api.get("/v1/runs/renamed"))["author"] == "Bob"
        run = await api.get("/v1/runs/uploaded")
        assert (run["author"], run["title"]) == (None, "B")
        assert (await tables_with_name(store, NAME, org_id=2)).keys() == {"runs", "events"}
        entries = await store.pool.fetch(
            "SELECT actor, action, subject FROM audit_trail ORDER BY entry_id DESC LIMIT 1"
        )
        assert [tuple(entry) for entry in entries] == [("command line", "organizations erase-author", "1 runs")]
        assert await erase(store) == ErasedRows(0, 0, 0)


async def run_and_event(reports: Reports, run_id: str) -> Any:
    events = "SELECT event_id, type, data::text FROM events WHERE run_id = $1 ORDER BY event_id"
    return await reports.api.get(f"/v1/runs/{run_id}"), await reports.api.store.pool.fetch(events, run_id)


async def test_events_keep_the_order_of_their_other_members(store: Store) -> None:
    await store.ingest(run_event(author=NAME, title="A"))
    query = "SELECT data::text FROM events"
    before = orjson.loads(await store.pool.fetchval(query))
    await erase(store)
    published = await store.pool.fetch("SELECT type, data::text FROM events ORDER BY created_at")
    after = orjson.loads(published[0]["data"])
    assert (list(after), after) == (list(before), {**before, "author": None})
    assert [row["type"] for row in published] == ["run.completed", "run.stored"]


async def test_event_from_before_the_erasure_does_not_restore_the_name(store: Store) -> None:
    await store.ingest(run_event(author=NAME))
    await erase(store)
    await store.ingest(run_event(time=LATER, author=NAME, branch="main"))
    run = await store.run()
    assert run is not None
    assert (run["author"], run["branch"]) == (None, "main")


async def test_report_in_progress_does_not_store_the_name(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        store = reports.api.store
        ingester = new_ingester(Settings(artifacts_url=(tmp_path / "files").as_uri()), store.pool)
        await reports.send(PASSING, params={"author": NAME})
        leased = await ingester.lease()
        assert leased is not None
        assert await erase(store) == ErasedRows(runs=0, events=0, uploads=1)
        assert (await ingester.ingest(leased)).status == "lost"
        again = await ingester.lease()
        assert again is not None
        assert (again.attempt_count, (await ingester.ingest(again)).status) == (1, "stored")
        assert await tables_with_name(store, NAME) == {}


async def test_large_organization_is_erased_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "_MAX_ROWS", 2)
    await store.ingest(*(run_event(f"run {n}", author=NAME if n != 2 else "Bob") for n in range(6)))
    assert await erase(store) == ErasedRows(runs=5, events=5, uploads=0)
    assert await tables_with_name(store, NAME) == {}


async def test_interrupted_erasure_continues(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError

    await store.ingest(run_event(author=NAME))
    with monkeypatch.context() as patched:
        patched.setattr(organization_store, "erase_author_in_events", fail)
        with pytest.raises(RuntimeError):
            await erase(store)
    assert await erase(store) == ErasedRows(runs=0, events=1, uploads=0)


async def test_unknown_organization_is_an_error(store: Store) -> None:
    async with store.pool.acquire() as connection:
        with pytest.raises(NotFound, match="'none' not found"):
            await erase_author(connection, "none", NAME)
