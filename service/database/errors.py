"""Classification of the errors of the driver: by how a caller can respond, and by what an operator must fix."""

from contextlib import AbstractAsyncContextManager
from typing import Final, Literal

import asyncpg

from service.database.connections import CONNECTION_FAILURES, UNREACHABLE
from service.database.engines import EngineMismatch, TablesNotDistributed
from service.domain.errors import Unavailable

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

# SQLSTATE codes and classes, grouped by how a caller can respond. A code that no group contains is an error of the
# server, not of the data: it is read-only, has another password, lacks a table, reports a damaged disk or a lost node
# (58), or an error that it can't classify (XX000).
_LOCK_TIMEOUT: Final = "55P03"
_CONFLICTS: Final = ("40001", "40P01", _LOCK_TIMEOUT)
_CONNECTION_ERRORS: Final = (*UNREACHABLE, "28", "53")  # also if the server rejects the login, or has no resources
_DATA_ERRORS: Final = (
    "22000",  # raised by the driver itself, for a value that it can't encode
    "22001", "22003", "22007", "22008", "22021", "22P02", "22P05",  # values that a column can't store
    "23",  # violated constraints
    "54",  # values that exceed a limit of PostgreSQL, such as the size of an index entry
)  # fmt: skip
_UNSUPPORTED: Final = "0A000"  # a statement that PostgreSQL, or Citus on distributed tables, never executes
_MISSING_RIGHT: Final = "42501"

# The errors that an operator must fix in the database or its settings
DatabaseErrorKind = Literal[
    "address", "outage", "login", "database", "schema", "migrations", "rights", "engine", "distribution"
]

_KINDS: Final[dict[str, DatabaseErrorKind]] = {
    "28000": "login",
    "28P01": "login",
    "3D000": "database",  # it is missing
    "22023": "schema",  # a role is missing
    "42P01": "schema",  # a table is missing
    _MISSING_RIGHT: "rights",
}


class RowDeleted(Exception):
    """A row was deleted between two statements of a transaction. Repeat the transaction."""


class RowLocked(Exception):
    """Other transactions use a row for a long time. Repeat the transaction later."""


def is_outage(error: BaseException) -> bool:
    """Return whether the server or its connection is the cause, so the same statement can succeed later."""
    if isinstance(error, asyncpg.PostgresError):
        return not is_data_error(error) and not is_conflict(error) and not is_unsupported(error)
    # The driver raises InternalClientError for connections that a server is closing while it shuts down.
    return isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError | TimeoutError)


def is_conflict(error: BaseException) -> bool:
    """Return whether two transactions conflicted, so the same transaction can succeed if it is repeated."""
    return isinstance(error, RowDeleted | RowLocked) or (
        isinstance(error, asyncpg.PostgresError) and error.sqlstate in _CONFLICTS
    )


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether another transaction had a lock for longer than the statement could wait."""
    return isinstance(error, RowLocked) or (
        isinstance(error, asyncpg.PostgresError) and error.sqlstate == _LOCK_TIMEOUT
    )


def is_connection_error(error: BaseException) -> bool:
    """Return whether no statement can succeed now: the connection is lost, or the server accepts no connection."""
    if isinstance(error, asyncpg.PostgresError):
        is_reported = str(error.sqlstate).startswith(_CONNECTION_ERRORS)
        return is_reported and not is_unreachable_worker(error)
    return is_outage(error)


def is_unreachable_worker(error: BaseException) -> bool:
    """Return whether the connected server reports that it can't reach another server, such as a worker of Citus.

    The connection still works. An error of the driver has no severity, and a server that ends a connection reports
    FATAL.
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and str(error.sqlstate).startswith(CONNECTION_FAILURES)
        and getattr(error, "severity_en", None) == "ERROR"
    )


def is_unsupported(error: BaseException) -> bool:
    """Return whether the server never executes the statement, so the statement is a defect of the service.

    A prepared statement whose result a migration has changed has the same code, and its next execution succeeds.
    """
    return getattr(error, "sqlstate", None) == _UNSUPPORTED and not isinstance(
        error, asyncpg.InvalidCachedStatementError
    )


def is_data_error(error: BaseException) -> bool:
    """Return whether the data can't be stored, so a retry can't succeed."""
    return isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(_DATA_ERRORS)


def is_missing_right(error: BaseException) -> bool:
    """Return whether the login or its role lacks a permission, which an operator must grant."""
    return getattr(error, "sqlstate", None) == _MISSING_RIGHT


class OutagesAsUnavailable(AbstractAsyncContextManager[None, None]):
    """Converts an outage or a conflict to Unavailable, which callers outside of this package can handle."""

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (*DRIVER_ERRORS, OSError)) and (is_outage(error) or is_conflict(error)):
            raise Unavailable("the database is not available; try again later") from error


def database_error_kind(error: BaseException) -> DatabaseErrorKind | None:
    """Return the kind of an error of the database itself, or None for any other error."""
    if isinstance(error, EngineMismatch):
        return "distribution" if isinstance(error, TablesNotDistributed) else "engine"
    if isinstance(error, asyncpg.PostgresError):
        kind = _KINDS.get(str(error.sqlstate))
    else:
        kind = "address" if isinstance(error, asyncpg.ClientConfigurationError | UnicodeError) else None
    return kind or ("outage" if is_outage(error) else None)
