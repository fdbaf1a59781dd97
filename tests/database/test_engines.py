"""The differences between the engines, without a Citus cluster, and the check of the setting at the start."""

import asyncio
from typing import Any

import asyncpg
import pytest

from service.database import distribution
from service.database.engines import (
    CITUS,
    DISTRIBUTED_TABLES,
    POSTGRESQL,
    CitusConnection,
    Engine,
    EngineMismatch,
    TablesNotDistributed,
    check_engine,
    is_missing_partition,
)
from service.domain.errors import Conflict
from service.domain.ids import OrgId
from service.processes import NoDatabase, database_connection, wait_for_schema
from service.settings import Settings

pytestmark = pytest.mark.one_server


def test_postgresql_requests_all_rows_at_once_and_citus_those_of_each_organization() -> None:
    rows = [(OrgId(2), "a"), (OrgId(1), "b"), (OrgId(2), "c")]
    assert list(POSTGRESQL.split(rows)) == [rows]
    assert list(CITUS.split(rows)) == [[(1, "b")], [(2, "a"), (2, "c")]]
    assert not list(POSTGRESQL.split([]))
    assert not list(CITUS.split([]))


def test_only_citus_limits_the_readers_of_an_export() -> None:
    assert (POSTGRESQL.limit_readers(2), CITUS.limit_readers(2)) == (2, 1)


@pytest.mark.parametrize(
    ("sqlstate", "message", "is_missing"),
    [
        ("23514", 'no partition of relation "results" found for row', True),
        ("XX000", 'no partition of relation "results_102008" found for row', True),  # in a COPY to a worker
        ("XX000", "cache lookup failed for relation 7", False),
        ("23505", "duplicate key value", False),
    ],
)
def test_missing_partition_is_recognized(sqlstate: str, message: str, *, is_missing: bool) -> None:
    assert is_missing_partition(asyncpg.PostgresError.new({"C": sqlstate, "M": message})) is is_missing


async def test_citus_setting_does_not_start_with_one_server(database_url: str) -> None:
    settings = Settings(database_url=database_url, database_engine="citus", schema_wait_s=60)
    with pytest.raises(NoDatabase, match=r"RESULTS_DATABASE_ENGINE: is citus, and .* extension citus"):
        await wait_for_schema(settings, "results_api", asyncio.Event())


async def test_command_does_not_start_with_the_wrong_engine(database_url: str) -> None:
    with pytest.raises(NoDatabase, match="RESULTS_DATABASE_ENGINE"):
        async with database_connection(Settings(database_url=database_url, database_engine="citus"), "results_worker"):
            pass


@pytest.mark.parametrize(
    ("engine", "distributed", "error"),
    [
        (POSTGRESQL, (), None),
        (POSTGRESQL, DISTRIBUTED_TABLES[:1], EngineMismatch),
        (CITUS, (), TablesNotDistributed),
        (CITUS, DISTRIBUTED_TABLES[1:], TablesNotDistributed),
        (CITUS, DISTRIBUTED_TABLES, None),
    ],
)
async def test_setting_must_match_the_distributed_tables(
    database_url: str, engine: Engine, distributed: tuple[str, ...], error: type[Exception] | None
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute('CREATE TEMP TABLE pg_dist_partition (logicalrelid regclass, partmethod "char")')
        for table in distributed:
            await connection.execute("INSERT INTO pg_dist_partition VALUES ($1::text::regclass, 'h')", table)
        if error is None:
            await check_engine(connection, engine, has_citus=True)
        else:
            with pytest.raises(error):
                await check_engine(connection, engine, has_citus=True)
    finally:
        await connection.close()


async def test_one_server_cannot_be_distributed(database_url: str) -> None:
    with pytest.raises(Conflict, match="CREATE EXTENSION citus"):
        await distribution.distribute(database_url, 8)


COUNTED_MARKS = """
CREATE TEMP TABLE commit_mark (id int);
CREATE TEMP SEQUENCE marks MINVALUE 0;
CREATE FUNCTION pg_temp.count_mark() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN PERFORM nextval('marks'); RETURN NULL; END $$;
CREATE TRIGGER count_mark AFTER DELETE ON commit_mark EXECUTE FUNCTION pg_temp.count_mark();
"""
ORGANIZATION = "SELECT nullif(current_setting('app.org_id', true), '')"


async def test_citus_connection_states_its_organization_and_marks_commits(database_url: str) -> None:
    connection: Any = await asyncpg.connect(database_url, connection_class=CitusConnection)
    try:
        await connection.execute(COUNTED_MARKS)
        await connection.act_as(OrgId(7))
        assert await connection.fetchval(ORGANIZATION) == "7"
        async with connection.transaction(readonly=True):
            assert await connection.fetchval(ORGANIZATION) == "7"
        assert await connection.fetchval("SELECT is_called FROM marks") is False
        async with connection.transaction(), connection.transaction():
            assert await connection.fetchval(ORGANIZATION) == "7"
        assert await connection.fetchval("SELECT last_value FROM marks WHERE is_called") == 0  # one mark
        connection.record_release()
        assert await connection.fetchval(ORGANIZATION) is None
    finally:
        await connection.close()
