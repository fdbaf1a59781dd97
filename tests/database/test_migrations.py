"""Tests that schema.sql and the migrations lead to the same schema, and that each migration is applied once."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from pglast import parse_sql

from service.database import migrations
from service.domain.errors import Unavailable
from service.domain.ids import completion_minute, first_id, id_timestamp_ms, new_id
from tests.databases import empty_database
from tests.fixtures.broker import until
from tests.servers import postgres_program

pytestmark = pytest.mark.one_server


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    with empty_database(postgres_url) as url:
        yield url


def schema_of(url: str) -> str:
    dumped = subprocess.run(
        [postgres_program("pg_dump"), "--schema-only", url], check=True, capture_output=True, text=True
    ).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", dumped, flags=re.MULTILINE)  # random for each dump


async def run_migrations(url: str, first: int = 1, last: int = 9999) -> None:
    connection = await asyncpg.connect(url)
    for migration in migrations.all_migrations():
        if first <= migration.version <= last:
            await connection.execute(migration.sql)
    await connection.close()


@pytest.mark.usefixtures("no_partitions")
async def test_all_migrations_together_create_the_schema_of_schema_sql(empty_url: str, database_url: str) -> None:
    await run_migrations(empty_url)
    assert schema_of(empty_url) == schema_of(database_url)


# What unreleased versions of the migrations 0015 and 0017 created.
MEMBERS_AND_VERSIONS = """
CREATE FUNCTION case_members(case_key bigint, case_id text, variant jsonb, suite text, name text, file text)
    RETURNS text LANGUAGE sql IMMUTABLE RETURN to_json(name)::text;
ALTER TABLE cases ADD COLUMN
    members text NOT NULL GENERATED ALWAYS AS (case_members(case_key, case_id, variant, suite, name, file)) STORED;
CREATE TABLE case_versions (org_id int PRIMARY KEY REFERENCES organizations, version uuid NOT NULL);
CREATE POLICY same_organization ON case_versions TO results_api USING (org_id = current_org());
CREATE FUNCTION renew_case_versions() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER renew_case_versions AFTER UPDATE ON cases
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION renew_case_versions();
"""


@pytest.mark.usefixtures("no_partitions")
async def test_database_with_versions_of_cases_gets_the_schema_of_schema_sql(empty_url: str, database_url: str) -> None:
    await run_migrations(empty_url, last=22)
    connection = await asyncpg.connect(empty_url)
    await connection.execute(MEMBERS_AND_VERSIONS)
    await connection.close()
    await run_migrations(empty_url, first=23)
    assert schema_of(empty_url) == schema_of(database_url)


async def test_recent_receipts_get_the_part_of_their_upload(empty_url: str) -> None:
    await run_migrations(empty_url, last=5)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("INSERT INTO organizations (slug, name) VALUES ('acme', 'Acme')")
    old = first_id("rcp", id_timestamp_ms(new_id("rcp")) - 3 * 86_400_000)
    receipts = [
        (old, "rejected", '{"shard": 2}'),
        (new_id("rcp"), "rejected", '{"shard": 2, "variant": {"os": "linux"}}'),
        (new_id("rcp"), "stored", '{"shard": 3, "variant": null}'),  # replaces a rejected one
        (new_id("rcp"), "rejected", "{}"),
    ]
    for id_, status, run in receipts:
        await connection.execute(
            "INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, upload)"
            " VALUES (1, $1, '/', $1, '', $2, jsonb_build_object('run', $3::text::jsonb))",
            id_, status, run,
        )  # fmt: skip
    await run_migrations(empty_url, first=6, last=6)
    rows = await connection.fetch("SELECT receipt_id, shard, variant FROM receipts")
    parts = {id_: (shard, variant) for id_, shard, variant in rows}
    assert [parts[id_] for id_, *_ in receipts] == [(0, "{}"), (2, '{"os": "linux"}'), (3, "{}"), (0, "{}")]
    await connection.close()


async def test_stored_failures_get_the_minutes_of_their_groups(empty_url: str) -> None:
    await run_migrations(empty_url, last=11)
    connection = await asyncpg.connect(empty_url)
    await connection.execute(
        "SELECT create_month_partitions(month) FROM unnest('{2026-02-01, 2026-03-01}'::date[]) month;"
        " INSERT INTO result_details (org_id, run_key, case_key, duration_ms, started_offset_ms, attempt, status,"
        " is_last_attempt, fingerprint) SELECT n % 3, first_run_key(timestamptz '2026-02-28 23:50 UTC' + n * interval"
        " '19.9999 s'), n, 0, 0, 1, 'f', n % 4 > 0, CASE WHEN n % 4 > 0 THEN n % 5 - 2 END"
        " FROM generate_series(1, 99) n"
    )
    await run_migrations(empty_url, first=12)
    rows = await connection.fetch("SELECT org_id, fingerprint, minute FROM failure_group_minutes")
    details = await connection.fetch(
        "SELECT org_id, fingerprint, run_key FROM result_details WHERE fingerprint IS NOT NULL"
    )
    expected = {(row["org_id"], row["fingerprint"], completion_minute(row["run_key"])) for row in details}
    assert len(expected) > 50
    assert sorted(map(tuple, rows)) == sorted(expected)
    await connection.close()


async def test_minutes_move_out_of_their_months(empty_url: str) -> None:
    """A consumer of the previous version continues, and a removal that was interrupted leaves no table."""
    await run_migrations(empty_url, last=15)
    connection = await asyncpg.connect(empty_url)
    await connection.execute(
        "SELECT create_month_partitions(month) FROM unnest('{1970-01-01, 1970-02-01, 1970-05-01}'::date[]) month;"
        " INSERT INTO failure_group_minutes (org_id, fingerprint, minute)"
        " SELECT 1 + n % 2, n % 3, n % 60 * 1000 FROM generate_series(1, 200) n;"
        " ALTER TABLE failure_group_minutes DETACH PARTITION failure_group_minutes_1970_05;"
        " COMMENT ON TABLE failure_group_minutes_1970_05 IS 'expired'"
    )
    expected = await connection.fetch("SELECT DISTINCT org_id, fingerprint, minute FROM failure_group_minutes")
    consumer = await asyncpg.connect(empty_url)
    await consumer.execute("SET ROLE results_worker")
    await consumer.execute("SELECT create_month_partitions('1970-03-01')")
    columns = ["org_id", "fingerprint", "minute"]
    await consumer.copy_records_to_table("failure_group_minutes", records=[(3, 7, 1)], columns=columns)
    await run_migrations(empty_url, first=16, last=16)
    await consumer.execute("SELECT create_month_partitions('1970-04-01')")
    await consumer.copy_records_to_table("failure_group_minutes", records=[(3, 8, 10**6)], columns=columns)
    rows = await consumer.fetch("SELECT org_id, fingerprint, minute FROM failure_group_minutes")
    assert sorted(map(tuple, rows)) == sorted([*map(tuple, expected), (3, 7, 1), (3, 8, 10**6)])
    months = await connection.fetch("SELECT FROM pg_class WHERE relname LIKE 'failure_group_minutes_1%'")
    assert not months
    await consumer.close()
    await connection.close()


# The table is replaced, and no release reads its predecessor.
REPLACED = {(16, "failure_group_minutes")}
ROWS = (
    "INSERT INTO organizations (slug, name) VALUES ('acme', 'Acme');"
    " INSERT INTO cases (org_id, case_key, project_id, suite, name, occurrence) VALUES (1, 1, 'shop', 'a', 'b', 0);"
    " SELECT create_month_partitions('2026-02-01')"
)


async def files_of_tables(connection: asyncpg.Connection) -> dict[str, tuple[int, int]]:
    """Return the identity and the file of each table and partition."""
    rows = await connection.fetch(
        "SELECT relname, oid, relfilenode FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    return {name: (oid, file) for name, oid, file in rows}


async def rewritten_tables(connection: asyncpg.Connection, known: list[migrations.Migration]) -> set[tuple[int, str]]:
    """Apply all migrations, and return the tables that each of them, by its number, rewrites or drops."""
    found = set()
    for migration in known:
        before = await files_of_tables(connection)
        await connection.execute(migration.sql)
        after = await files_of_tables(connection)
        found |= {(migration.version, name) for name in before if after.get(name) != before[name]}
        if migration is known[0]:
            await connection.execute(ROWS)
    return found


async def test_no_migration_rewrites_a_table_that_readers_use(empty_url: str) -> None:
    """A transaction with an older snapshot reads a rewritten table as empty: an export loses its rows."""
    rewrites = migrations.Migration(
        9998, "rewrites", "ALTER TABLE cases ADD COLUMN added text DEFAULT clock_timestamp()"
    )
    drops = migrations.Migration(9999, "drops", "DROP TABLE projects")
    connection = await asyncpg.connect(empty_url)
    rewritten = await rewritten_tables(connection, [*migrations.all_migrations(), rewrites, drops])
    await connection.close()
    partitions = {(version, name) for version, name in rewritten if re.search(r"_\d{4}_\d{2}$", name)}
    assert rewritten - partitions == REPLACED | {(9998, "cases"), (9999, "projects")}
    assert {name for _, name in partitions} <= {"failure_group_minutes_2026_02"}


async def test_outputs_of_suites_are_no_longer_listed_with_results(empty_url: str) -> None:
    await run_migrations(empty_url, last=20)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("CREATE TABLE artifacts_of_test PARTITION OF artifacts DEFAULT")
    insert = """
        INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, byte_offset)
        VALUES (1, gen_random_uuid(), $1, 1, 'log', $2, $3)
        """
    suites = [(7, name, 0) for name in ("suite-system-out.txt", "report-suite-system-err.txt", "run-stdout.txt")]
    others: list[tuple[int, str, int | None]] = [
        (0, "suite-system-out.txt", 0),
        (7, "suite-system-out.txt", None),
        (7, "system-out.txt", 0),
    ]
    await connection.executemany(insert, [*suites, *others])
    await run_migrations(empty_url, first=21)
    stored = await connection.fetch("SELECT case_key, name, byte_offset FROM artifacts")
    assert {tuple(row) for row in stored} == set(others)
    await connection.close()


async def test_new_database_has_no_pending_migrations(database_url: str) -> None:
    assert await migrations.pending(database_url) == []
    assert await migrations.apply(database_url) == []


async def test_concurrent_calls_apply_a_missing_migration_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = migrations.Migration(9999, "adds_a_table", "CREATE TABLE added (id int)")
    known = migrations.all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*known, new])
    assert await migrations.pending(database_url) == [new]
    both = await asyncio.gather(migrations.apply(database_url), migrations.apply(database_url))
    assert [migration for applied in both for migration in applied] == [new]
    assert await migrations.pending(database_url) == []


async def test_migration_that_waits_for_a_long_transaction_blocks_no_reader(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock timeout, all readers of a table wait for a migration that waits for one long export."""
    new = migrations.Migration(9999, "changes_a_table", "ALTER TABLE runs ADD COLUMN added int")
    known = migrations.all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*known, new])
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(migrations, "_LOCK_DELAYS_S", (0.1,) * 100)
    waiting = asyncio.Event()
    exporting, reading = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    export = exporting.transaction()
    await export.start()
    await exporting.fetch("SELECT 1 FROM runs")
    applying = asyncio.create_task(migrations.apply(database_url, lambda _migration: waiting.set()))
    await asyncio.wait_for(waiting.wait(), 10)
    await asyncio.wait_for(reading.fetch("SELECT 1 FROM runs"), 10)
    await export.commit()
    assert await asyncio.wait_for(applying, 20) == [new]
    await asyncio.gather(exporting.close(), reading.close())


DEADLOCK = """
SET LOCAL deadlock_timeout = '10ms';
CREATE TEMPORARY VIEW locks AS
    SELECT l.* FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database();
LOCK TABLE runs;
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM locks WHERE granted AND relation = 'cases'::regclass)
          AND NOT EXISTS (SELECT FROM locks WHERE NOT granted AND relation = 'runs'::regclass) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
LOCK TABLE cases;
"""


async def test_migration_that_deadlocks_with_a_consumer_is_repeated(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer locks the tables of a migration in another order: cases, and then runs."""
    new = migrations.Migration(9999, "locks_two_tables", DEADLOCK)
    known = migrations.all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*known, new])
    monkeypatch.setattr(migrations, "_LOCK_DELAYS_S", (0.05,) * 100)
    repeated: list[migrations.Migration] = []
    connection = await asyncpg.connect(database_url, server_settings={"deadlock_timeout": "60s"})
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE cases IN ROW EXCLUSIVE MODE")
            applying = asyncio.create_task(migrations.apply(database_url, repeated.append))
            # The tables of other tests have the same OIDs, because all databases are copies of one.
            locked = (
                "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
                " WHERE d.datname = current_database() AND l.relation = 'runs'::regclass AND l.granted"
            )
            await until(partial(connection.fetchval, locked), "the lock of the migration")
            await connection.execute("LOCK TABLE runs IN ROW EXCLUSIVE MODE")
        assert await asyncio.wait_for(applying, 20) == [new]
    finally:
        await connection.close()
    assert repeated


async def test_migration_of_a_table_that_stays_locked_is_a_clear_error(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = migrations.Migration(9999, "changes_a_table", "ALTER TABLE runs ADD COLUMN added int")
    known = migrations.all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*known, new])
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrations, "_LOCK_DELAYS_S", ())
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE runs")
        with pytest.raises(Unavailable, match="migration 9999: another transaction locks a table"):
            await migrations.apply(database_url)
    await connection.close()
    assert await migrations.pending(database_url) == [new]


async def test_versions_are_unique_and_consecutive() -> None:
    versions = [migration.version for migration in migrations.all_migrations()]
    assert versions == list(range(1, len(versions) + 1))
    assert versions


def test_installation_without_migrations_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "migrations").mkdir()
    monkeypatch.setattr(migrations, "_schema_files", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="no migrations found"):
        migrations.all_migrations()


def test_migration_is_split_into_statements() -> None:
    statements = [
        "-- comment\nALTER TABLE a ADD b int;",
        "CREATE FUNCTION f() AS $$\nBEGIN\n    RETURN;\nEND $$;",
        "DO $$ BEGIN END $$; -- comment; with a semicolon",
        "SELECT 1",
    ]
    assert list(migrations.split_statements("\n".join(statements))) == statements


def test_no_migration_contains_two_statements_in_one() -> None:
    for migration in migrations.all_migrations():
        for statement in migrations.split_statements(migration.sql):
            assert len(parse_sql(statement)) <= 1, (migration.name, statement)
