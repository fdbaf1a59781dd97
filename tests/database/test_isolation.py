"""Tenant isolation: every statement is limited to one organization, and row-level security enforces it for the API."""

from typing import Final

import asyncpg
import pytest

from service.database import database
from service.database.statements import statements, subjects
from tests.database.composed import all_composed
from tests.database.filled import ORG
from tests.database.tenant_scopes import unlimited_tables
from tests.stored import Store

# Statements that must read or write all organizations, with the reason. The API runs none of them.
ACROSS_ORGANIZATIONS: Final = {
    "tasks.find_backlogs": "metrics of the complete system",
    "webhooks.lease": "a worker leases due deliveries of any organization",
    "events.number": "the relay numbers the events of all organizations in one order",
    "events.prune": "retention",
    "events.prune_deliveries": "retention",
    "digests.prune": "retention",
    "retention.lease": "a worker leases due deletions of any organization",
    "exports.lease": "a worker leases the next export of any organization",
    "exports.find_abandoned": "a worker fails jobs whose workers crashed",
    "artifacts.delete_expired": "retention",
    "exports.find_expired": "retention",
    "exports.release_unconfirmed": "a worker releases a lease whose response was lost",
    "exports.find_orphaned_files": "cleanup compares stored files with all exports",
    "mutations.delete_expired": "retention",
    "organizations.create": "creates the organization and its org_id",
    "organizations.find_by_slugs": "ingest finds the organization that an event names",
    "organizations.list_all": "an operator lists organizations",
    "database.find_files": "retention drops a month of all organizations",
    "identity/producers.is_registered": "an operator learns whether a producer is still checked",
    "identity/publishers.delete_outdated": "retention",
    "server_state": "ingest finds the organizations whose events a producer can send",
    "retention.find_requested": "upkeep deletes projects of any organization",
    "mark_expired": "upkeep publishes the expiry of quarantines of any organization",
    "states.find_organizations": "upkeep finds the organizations whose states must be updated",
    "reports.lease": "a worker leases the next report of any organization",
    "reports.find_abandoned": "a worker fails reports whose workers crashed",
    "identity/publishers.delete_expired": "retention",
    "identity/members.delete_expired": "retention",
    "retention.find_expired": "retention",
    "splits.delete": "retention",
    "retention.delete_receipts": "retention",
    "webhooks.lock_recovery": "a worker locks the next recovery of any organization",
    "webhooks.find_key_ids": "a process checks its encryption keys",
    "webhooks.lock_secrets": "an operator encrypts all secrets with a new key",
    "webhooks.lock_disabled": "the dispatcher ends the deliveries of disabled webhooks of any organization",
    "webhooks.lock_planned": "the dispatcher plans the messages of webhooks of any organization",
    "webhooks.lock_deleted": "the dispatcher removes deleted webhooks of any organization",
}
TENANT_TABLES: Final = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
"""
PARTITIONS: Final = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relispartition AND relnamespace = 'public'::regnamespace
"""


async def names(pool: asyncpg.Pool, query: str) -> set[str]:
    found = {row["relname"] for row in await pool.fetch(query)}
    assert found
    return found


async def test_every_statement_is_limited_to_one_organization(store: Store) -> None:
    tables = await names(store.pool, TENANT_TABLES)
    texts = {f"{subject}.{name}": text for subject in subjects() for name, text in statements(subject).items()}
    texts |= {name: statement.text for name, statement in all_composed().items()}
    unlimited = {name for name, text in texts.items() if unlimited_tables(text, tables)}
    assert unlimited == ACROSS_ORGANIZATIONS.keys()


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT org_id FROM runs WHERE run_id = $1", {"runs"}),
        ("SELECT 1 FROM runs WHERE org_id = $1 OR run_id = $2", {"runs"}),
        ("SELECT 1 FROM runs WHERE org_id <> $1", {"runs"}),
        ("SELECT 1 FROM runs r WHERE r.org_id = r.org_id", {"runs"}),
        ("SELECT 1 FROM runs r JOIN cases c USING (org_id)", {"runs", "cases"}),
        ("SELECT 1 FROM runs r, cases c WHERE r.org_id = $1 AND c.case_key = $2", {"cases"}),
        ("SELECT (SELECT 1 FROM cases WHERE case_key = $2) FROM runs WHERE org_id = $1", {"cases"}),
        ("WITH c AS (SELECT 1 FROM cases) SELECT 1 FROM runs, c WHERE org_id = $1", {"cases"}),
        ("UPDATE runs SET org_id = $1 WHERE run_key = $2", {"runs"}),
        ("DELETE FROM runs WHERE run_key = $1", {"runs"}),
        ("INSERT INTO runs (run_key) VALUES ($1)", {"runs"}),
        ("SELECT 1 FROM runs r JOIN cases c USING (org_id) WHERE r.org_id = $1", set()),
        ("SELECT 1 FROM runs WHERE (org_id, run_key) IN (SELECT 1, $1)", set()),
        ("DELETE FROM runs r USING unnest($1::int[]) AS one (org_id) WHERE r.org_id = one.org_id", set()),
        ("INSERT INTO runs (org_id, run_key) VALUES ($1, $2)", set()),
    ],
)
def test_the_check_finds_each_unlimited_table(sql: str, tables: set[str]) -> None:
    assert unlimited_tables(sql, {"runs", "cases"}) == tables


async def assert_policies(pool: asyncpg.Pool) -> None:
    """Every tenant table has exactly one policy for the API, which compares its org_id."""
    unprotected = await pool.fetch(
        f"SELECT relname FROM ({TENANT_TABLES}) tenant JOIN pg_class USING (relname)"
        " WHERE NOT relrowsecurity AND relnamespace = 'public'::regnamespace"
    )
    assert [row["relname"] for row in unprotected] == []
    policies = await pool.fetch(
        "SELECT tablename, qual FROM pg_policies WHERE roles && ARRAY['results_api', 'public']::name[]"
    )
    assert {row["tablename"] for row in policies} == await names(pool, TENANT_TABLES)
    assert [row["qual"] for row in policies] == ["(org_id = current_org())"] * len(policies)


async def test_every_tenant_table_has_a_policy(store: Store) -> None:
    await assert_policies(store.pool)


async def test_the_check_notices_a_table_without_a_policy(store: Store, database_url: str) -> None:
    async with database.as_owner(database_url) as owner:
        await owner.execute("CREATE TABLE added (org_id int)")
    with pytest.raises(AssertionError):
        await assert_policies(store.pool)


async def test_no_tenant_table_shows_rows_without_an_organization(filled: Store, api_pool: asyncpg.Pool) -> None:
    for table in await names(filled.pool, TENANT_TABLES):
        if await filled.pool.fetchval("SELECT has_table_privilege('results_api', $1, 'SELECT')", table):
            assert await api_pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_an_organization_sees_only_its_own_rows(filled: Store, api_pool: asyncpg.Pool) -> None:
    shown = 0
    async with database.as_organization(api_pool, ORG) as connection:
        for table in await names(filled.pool, TENANT_TABLES):
            if not await filled.pool.fetchval("SELECT has_table_privilege('results_api', $1, 'SELECT')", table):
                continue
            if await filled.pool.fetchval(f"SELECT count(DISTINCT org_id) FROM {table}") == 2:
                shown += 1
                assert await connection.fetchval(f"SELECT array_agg(DISTINCT org_id) FROM {table}") == [ORG], table
    assert shown >= 5


async def test_the_api_can_not_read_partitions_directly(filled: Store, api_pool: asyncpg.Pool) -> None:
    """Policies of the parent don't apply to a partition that a statement names."""
    partitions = await names(filled.pool, PARTITIONS)
    assert any(name.startswith("results_") for name in partitions)
    async with database.as_organization(api_pool, ORG) as connection:
        for table in partitions:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT 1 FROM {table} LIMIT 1")


async def test_the_api_can_not_write_tables_that_it_only_reads(filled: Store, api_pool: asyncpg.Pool) -> None:
    async with database.as_organization(api_pool, ORG) as connection:
        for statement in ("UPDATE results SET attempts = 1", "UPDATE organizations SET name = 'x'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
