"""The two ways to the current schema, schema.sql and the migrations one by one, end in the same place."""

import asyncio
import re
import subprocess
from collections.abc import Iterator

import asyncpg
import pytest

from service.dev.postgres import program
from service.store.postgres import migrations
from tests.databases import empty_database


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    with empty_database(postgres_url) as url:
        yield url


def schema_of(url: str) -> str:
    dumped = subprocess.run(
        [program("pg_dump"), "--schema-only", url], check=True, capture_output=True, text=True
    ).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", dumped, flags=re.MULTILINE)  # a random word per dump


async def run_migrations(url: str) -> None:
    connection = await asyncpg.connect(url)
    for migration in migrations.all_migrations():
        await connection.execute(migration.sql)
    await connection.close()


async def test_migrations_end_at_the_schema(empty_url: str, database_url: str) -> None:
    await run_migrations(empty_url)
    assert schema_of(empty_url) == schema_of(database_url)


async def test_a_new_database_has_seen_every_migration(database_url: str) -> None:
    assert await migrations.pending(database_url) == []
    assert await migrations.apply(database_url) == []


async def test_a_missing_migration_is_applied_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = migrations.Migration(9999, "adds_a_table", "CREATE TABLE added (id int)")
    known = migrations.all_migrations()
    monkeypatch.setattr(migrations, "all_migrations", lambda: [*known, new])
    assert await migrations.pending(database_url) == [new]
    both = await asyncio.gather(migrations.apply(database_url), migrations.apply(database_url))
    assert [migration for applied in both for migration in applied] == [new]
    assert await migrations.pending(database_url) == []


async def test_versions_are_unique_and_without_gaps() -> None:
    versions = [migration.version for migration in migrations.all_migrations()]
    assert versions == list(range(1, len(versions) + 1))
    assert versions
