"""An error of the server is never classified as an error of the data."""

import asyncpg
import pytest

from service.database.errors import (
    is_conflict,
    is_connection_error,
    is_data_error,
    is_outage,
    is_unreachable_worker,
    is_unsupported,
)


def error(sqlstate: str, severity: str = "ERROR") -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"S": severity, "V": severity, "C": sqlstate, "M": "message"})


@pytest.mark.parametrize("sqlstate", ["XX000", "XX001", "58000", "58030", "58P01", "42P01", "25006", "08006"])
def test_error_of_the_server_is_an_outage(sqlstate: str) -> None:
    assert is_outage(error(sqlstate))
    assert not is_data_error(error(sqlstate))
    assert not is_conflict(error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["22021", "22P05", "23505", "23514", "54000"])
def test_error_of_the_data_is_no_outage(sqlstate: str) -> None:
    assert is_data_error(error(sqlstate))
    assert not is_outage(error(sqlstate))


def test_unsupported_statement_is_neither_an_outage_nor_an_error_of_the_data() -> None:
    unsupported = error("0A000")
    assert is_unsupported(unsupported)
    assert not is_outage(unsupported)
    assert not is_data_error(unsupported)
    assert not is_conflict(unsupported)


async def test_statement_whose_result_a_migration_has_changed_succeeds_later(database_url: str) -> None:
    """It has the code of an unsupported statement."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TEMP TABLE migrated (value int)")
    await connection.fetch("SELECT * FROM migrated")
    await connection.execute("ALTER TABLE migrated ALTER value TYPE bigint")
    with pytest.raises(asyncpg.InvalidCachedStatementError) as raised:
        async with connection.transaction():  # elsewhere, the driver itself prepares the statement again
            await connection.fetch("SELECT * FROM migrated")
    assert is_outage(raised.value)
    assert not is_unsupported(raised.value)
    await connection.close()


@pytest.mark.parametrize(
    "lost",
    [
        error("08006", "FATAL"),
        error("28P01", "FATAL"),
        error("53300", "FATAL"),
        error("57P01", "FATAL"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    ],
)
def test_lost_connection_lets_no_statement_succeed(lost: asyncpg.PostgresError) -> None:
    assert is_connection_error(lost)
    assert is_outage(lost)
    assert not is_unreachable_worker(lost)


def test_unreachable_worker_is_an_outage_of_a_part_of_the_organizations() -> None:
    assert is_unreachable_worker(error("08006"))
    assert is_outage(error("08006"))
    assert not is_connection_error(error("08006"))
