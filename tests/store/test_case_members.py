"""Lists show the texts of each case that their snapshot contains, although a process caches them."""

import asyncio
import random
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from service.domain.filters import Position, ResultFilter
from service.domain.ids import CaseKey, OrgId
from service.store.postgres import composition, database
from service.store.postgres.composition import compose
from service.store.queries import case_members
from service.store.queries import results as read_results
from service.store.queries.case_members import CaseVersion, KnownMembers, find_members
from tests.run_events import result, run_event
from tests.stored import Store

ORG, OTHER = OrgId(1), OrgId(2)
VERSION = CaseVersion("incarnation", ORG, "version")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> KnownMembers:
    """Return the empty cache of the test."""
    members = KnownMembers()
    monkeypatch.setattr(case_members, "_KNOWN", members)
    return members


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the statements that read members of cases."""
    names: list[str] = []

    def recording(name: str) -> Any:
        names.append(name)
        return compose(name)

    monkeypatch.setattr(case_members, "compose", recording)
    return names


def renamed(run_id: str, name: str, **fields: Any) -> Any:
    return run_event(run_id, [result(name, case_id="tc_1", **fields)])


async def names(connection: Any, org_id: OrgId = ORG) -> list[str]:
    page = await read_results.list_page(connection, org_id, ResultFilter(), None, 100)
    return [item["name"] for item in orjson.loads(page.data)]


async def list_names(pool: asyncpg.Pool, org_id: OrgId = ORG) -> list[str]:
    async with database.as_organization(pool, org_id) as connection:
        return await names(connection, org_id)


async def version(store: Store, org_id: OrgId = ORG) -> UUID | None:
    found: UUID | None = await store.pool.fetchval("SELECT version FROM case_versions WHERE org_id = $1", org_id)
    return found


def snapshot(connection: Any) -> Any:
    return connection.transaction(isolation="repeatable_read", readonly=True)


async def version_of(connection: Any) -> CaseVersion:
    row = await compose("members_of_cases").fetch_row(connection, {"org_id": ORG, "case_keys": []})
    return CaseVersion(database.incarnation_of(connection), ORG, row["case_version"])


async def test_members_are_read_once(store: Store, api_pool: asyncpg.Pool, read: list[str]) -> None:
    await store.ingest(run_event("run_1", [result("a"), result("b")]))
    assert sorted(await list_names(api_pool)) == ["a", "b"]
    assert len(read) == 1
    await store.ingest(run_event("run_2", [result("a"), result("b")]))
    assert sorted(await list_names(api_pool)) == ["a", "a", "b", "b"]
    assert len(read) == 1
    await store.ingest(run_event("run_3", [result("a"), result("c")]))
    assert sorted(await list_names(api_pool)) == ["a", "a", "a", "b", "b", "c"]
    assert len(read) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "old", "case_id": "tc_1"}, {"name": "new", "case_id": "tc_1"}),
        ({"case_id": "tc_1"}, {"suite": "new", "case_id": "tc_1"}),
        ({"file": "old.py", "case_id": "tc_1"}, {"file": "new.py", "case_id": "tc_1"}),
        ({}, {"file": "new.py"}),
    ],
)
async def test_a_changed_case_has_its_new_texts_in_all_results(
    store: Store, api_pool: asyncpg.Pool, first: Any, second: Any
) -> None:
    def texts(item: Any) -> tuple[str, str, str | None]:
        return item["name"], item["suite"], item.get("file")

    async def listed() -> set[tuple[str, str, str | None]]:
        async with database.as_organization(api_pool, ORG) as connection:
            page = await read_results.list_page(connection, ORG, ResultFilter(), None, 100)
        return {texts(item) for item in orjson.loads(page.data)}

    await store.ingest(run_event("run_1", [old := result(**first)]))
    assert await listed() == {texts(old)}
    await store.ingest(run_event("run_2", [new := result(**second)]))
    assert await listed() == {texts(new)}


async def test_a_snapshot_shows_the_texts_that_it_contains(store: Store, api_pool: asyncpg.Pool) -> None:
    await store.ingest(renamed("run_1", "old"))
    async with database.as_organization(api_pool, ORG) as connection:
        async with snapshot(connection):
            assert await names(connection) == ["old"]
            await store.ingest(renamed("run_2", "new"))
            assert await list_names(store.pool) == ["new", "new"]
            assert await names(connection) == ["old"]
            assert await list_names(store.pool) == ["new", "new"]
        assert await names(connection) == ["new", "new"]


async def test_members_of_a_changed_version_are_read_from_one_snapshot(
    store: Store, api_pool: asyncpg.Pool, known: KnownMembers
) -> None:
    """A case can change between the statement that reads the results and the one that reads the members."""
    cases = [result("old a", case_id="tc_a"), result("old b", case_id="tc_b")]
    await store.ingest(run_event("run_1", cases))
    keys = [row["case_key"] for row in await store.pool.fetch("SELECT case_key FROM cases ORDER BY case_id")]
    async with database.as_organization(api_pool, ORG) as connection:
        old = await version_of(connection)
        await find_members(connection, ORG, old.version, keys[:1])
        await store.ingest(run_event("run_2", [{**case, "name": case["name"].replace("old", "new")} for case in cases]))
        found = await find_members(connection, ORG, old.version, keys)
        new = await version_of(connection)
    assert ['"name":"new a"' in str(found[0]), '"name":"new b"' in str(found[1])] == [True, True]
    assert known.find(old, keys)[1] is None
    assert known.find(new, keys) == found


async def test_only_changes_renew_the_version(store: Store) -> None:
    await store.ingest(renamed("run_1", "old"))
    await store.ingest(run_event("run_2", [result("another"), result("old", case_id="tc_1")]))
    assert await version(store) is None
    await store.ingest(renamed("run_3", "new"))
    first = await version(store)
    await store.ingest(renamed("run_4", "new"))
    assert await version(store) == first is not None
    await store.ingest(renamed("run_5", "newest"))
    assert await version(store) not in (None, first)


@pytest.mark.one_server
async def test_any_statement_that_changes_cases_renews_the_versions(store: Store) -> None:
    """A consumer of an earlier version doesn't know the versions."""
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    for organization in ("acme", "other"):
        await store.ingest(run_event(f"run_of_{organization}", [result("old")], organization=organization))
    await store.pool.execute("UPDATE cases SET file = 'a.py' WHERE org_id = 1")
    first = await version(store)
    assert first is not None
    assert await version(store, OTHER) is None
    await store.pool.execute("UPDATE cases SET file = 'b.py'")
    assert await version(store) not in (None, first)
    assert await version(store, OTHER) is not None


async def test_each_organization_with_changes_gets_a_new_version(store: Store, api_pool: asyncpg.Pool) -> None:
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    for name in ("old", "new"):
        of_acme = run_event(name, [result(name, case_id="tc_1")])
        of_other = run_event(name, [result(name, case_id="tc_1")], organization="other")
        await store.ingest(of_acme, of_other)
        for org_id in (ORG, OTHER):
            assert set(await list_names(api_pool, org_id)) == {name}


async def test_concurrent_changes_are_shown(store: Store, api_pool: asyncpg.Pool) -> None:
    """Readers cache members while transactions change them. Each page shows the texts of its snapshot."""
    await store.ingest(run_event("run_0", [result("0", case_id=f"tc_{case}") for case in range(4)]))

    async def change(case: int) -> None:
        for number in range(1, 6):
            await store.ingest(run_event(f"run_{case}_{number}", [result(f"{number}", case_id=f"tc_{case}")]))

    async def list_often() -> None:
        for _ in range(40):
            async with database.as_organization(api_pool, ORG) as connection, snapshot(connection):
                shown = await names(connection)
                assert set(shown) == {row["name"] for row in await connection.fetch("SELECT name FROM cases")}

    await asyncio.gather(*map(change, range(4)), list_often())
    assert set(await list_names(api_pool)) == {"5"}


async def test_organizations_have_their_own_texts(store: Store, api_pool: asyncpg.Pool) -> None:
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    await store.ingest(renamed("run_1", "of acme"))
    await store.ingest(run_event("run_1", [result("of other", case_id="tc_1")], organization="other"))
    for _ in range(2):
        assert await list_names(api_pool, ORG) == ["of acme"]
        assert await list_names(api_pool, OTHER) == ["of other"]


async def test_results_without_values_are_omitted(store: Store, api_pool: asyncpg.Pool) -> None:
    """Retention can delete the months of results and of their details at different times."""
    outcomes = [result(str(number), "failed") for number in range(7)]
    await store.ingest(run_event("run_1", outcomes))
    await store.pool.execute("DELETE FROM results WHERE case_key IN (SELECT case_key FROM cases WHERE name < '5')")
    failed, found = ResultFilter(statuses=("f",)), []
    position: Position | None = None
    async with database.as_organization(api_pool, ORG) as connection:
        for _ in range(len(outcomes) + 1):
            page = await read_results.list_page(connection, ORG, failed, position, 1)
            found += [item["name"] for item in orjson.loads(page.data)]
            position = page.next
            if position is None:
                break
    assert sorted(found) == ["5", "6"]
    assert position is None


async def test_results_without_a_run_are_omitted(store: Store, api_pool: asyncpg.Pool) -> None:
    await store.ingest(run_event("run_1", [result("a")]), run_event("run_2", [result("b")]))
    await store.pool.execute("DELETE FROM runs WHERE run_id = 'run_1'")
    assert await list_names(api_pool) == ["b"]


async def test_results_without_a_case_are_omitted(store: Store, api_pool: asyncpg.Pool) -> None:
    await store.ingest(run_event("run_1", [result("a"), result("b")]))
    await store.pool.execute("DELETE FROM cases WHERE name = 'a'")
    assert await list_names(api_pool) == ["b"]


@pytest.mark.one_server
async def test_texts_after_a_restore_are_shown(store: Store, api_pool: asyncpg.Pool, database_url: str) -> None:
    """The tables of a running service can be replaced by those of a backup, in which no case has changed."""
    await store.ingest(renamed("run_1", "old"))
    assert await list_names(api_pool) == ["old"]
    superuser = await asyncpg.connect(database_url)
    await superuser.execute("TRUNCATE runs, cases, case_versions, results, result_details, receipts, events")
    await superuser.close()
    await store.ingest(renamed("run_1", "restored"))
    assert await list_names(api_pool) == ["restored"]


async def test_a_page_that_ends_with_its_large_item_is_the_last_one(
    store: Store, api_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of a page is its number of bytes, of which a character can need several."""
    await store.ingest(run_event("run_1", [result("🚀" * 300 + name) for name in "ab"]))
    for page_bytes, pages in ((1_000, 2), (1_550, 2), (3_000, 1), (100_000, 1)):
        monkeypatch.setattr(composition, "MAX_PAGE_BYTES", page_bytes)
        position: Position | None = None
        async with database.as_organization(api_pool, ORG) as connection:
            for number in range(pages):
                page = await read_results.list_page(connection, ORG, ResultFilter(), position, 100)
                assert len(orjson.loads(page.data)) == 2 // pages
                position = page.next
                assert (position is None) == (number == pages - 1), (page_bytes, number)


def test_cache_finds_the_most_recently_used_members() -> None:
    members = KnownMembers(max_bytes=100_000)
    rng = random.Random(5)
    used: list[CaseKey] = []
    for number in range(5_000):
        members.add(VERSION, {CaseKey(number): f"members of {number}"})
        used.append(CaseKey(number))
        again = rng.choice(used[-50:])
        assert members.find(VERSION, [again]) == [f"members of {again}"]
        if number % 10 == 0:
            assert members.find(VERSION, [CaseKey(0)]) == ["members of 0"]  # which moves it to the young generation
    assert members.find(VERSION, [CaseKey(1), CaseKey(4_999)]) == [None, "members of 4999"]
    remaining = [found for found in members.find(VERSION, used) if found is not None]
    assert 50 < len(remaining) < 100_000 // 200


def test_cache_separates_incarnations_organizations_and_versions() -> None:
    members = KnownMembers()
    members.add(VERSION, {CaseKey(1): "members"})
    assert members.find(VERSION, [CaseKey(1), CaseKey(2), CaseKey(1)]) == ["members", None, "members"]
    other_version, other_incarnation = VERSION._replace(version="other"), VERSION._replace(incarnation="other")
    for other in (other_version, other_incarnation, VERSION._replace(org_id=OTHER)):
        assert members.find(other, [CaseKey(1)]) == [None]
