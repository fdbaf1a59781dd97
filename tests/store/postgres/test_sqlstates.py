"""An error of the server is never classified as an error of the data."""

import asyncpg
import pytest

from service.store.postgres.database import is_conflict, is_connection_error, is_data_error, is_outage


def error(sqlstate: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"S": "ERROR", "C": sqlstate, "M": "message"})


@pytest.mark.parametrize("sqlstate", ["XX000", "XX001", "58000", "58030", "58P01", "0A000", "42P01", "25006", "08006"])
def test_error_of_the_server_is_an_outage(sqlstate: str) -> None:
    assert is_outage(error(sqlstate))
    assert not is_data_error(error(sqlstate))
    assert not is_conflict(error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["22021", "22P05", "23505", "23514", "54000"])
def test_error_of_the_data_is_no_outage(sqlstate: str) -> None:
    assert is_data_error(error(sqlstate))
    assert not is_outage(error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["08006", "28P01", "53300", "57P01"])
def test_lost_connection_lets_no_statement_succeed(sqlstate: str) -> None:
    assert is_connection_error(error(sqlstate))
    assert is_outage(error(sqlstate))
