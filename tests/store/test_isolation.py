"""What the API's role may touch: its organization's rows through the parents, and nothing else."""

import asyncpg
import pytest

from service.store.postgres import database
from tests.store.filled import ORG
from tests.stored import Store

TABLES = ("organizations", "api_keys", "runs", "cases", "results", "result_details", "artifacts", "receipts")


async def test_without_an_organization_no_row_shows(filled: Store, api_pool: asyncpg.Pool) -> None:
    for table in TABLES:
        assert await api_pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_only_the_organizations_own_rows_show(filled: Store, api_pool: asyncpg.Pool) -> None:
    async with database.as_organization(api_pool, ORG) as connection:
        for table in ("runs", "results", "result_details", "cases"):
            assert await filled.pool.fetchval(f"SELECT count(DISTINCT org_id) FROM {table}") == 2
            assert await connection.fetchval(f"SELECT array_agg(DISTINCT org_id) FROM {table}") == [ORG]


async def test_a_partition_read_by_its_own_name_is_refused(filled: Store, api_pool: asyncpg.Pool) -> None:
    partitions = await filled.pool.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits")
    tables = [row["name"] for row in partitions if not row["name"].endswith(("_pkey", "_idx"))]
    assert any(name.startswith("results_") for name in tables)
    async with database.as_organization(api_pool, ORG) as connection:
        for table in tables:
            if table.startswith(("results_", "result_details_", "artifacts_")) and table[-2:].isdigit():
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(f"SELECT 1 FROM {table} LIMIT 1")


async def test_the_role_can_not_write_what_it_only_reads(filled: Store, api_pool: asyncpg.Pool) -> None:
    async with database.as_organization(api_pool, ORG) as connection:
        for statement in ("UPDATE results SET attempts = 1", "UPDATE organizations SET name = 'x'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_every_table_with_organizations_has_a_policy(store: Store) -> None:
    unprotected = await store.pool.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT c.relrowsecurity"
        " AND has_table_privilege('results_api', c.oid, 'SELECT')"
    )
    assert [row["relname"] for row in unprotected] == []
