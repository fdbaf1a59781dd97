"""Opens what a process needs and closes it again; which process needs what is decided in cli and consumers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from service.domain.errors import ServiceError
from service.log import log
from service.settings import Settings
from service.storage import Storage
from service.store.postgres import database
from service.store.postgres.database import Connection, DatabaseRole, Pool, outages_as_unavailable
from service.store.postgres.error_kinds import DatabaseErrorKind, database_error_kind, probe


class MissingSetting(ServiceError):
    """A setting that this command can't do without is not there."""


_ADVICE: Final[dict[DatabaseErrorKind, str]] = {
    "address": "RESULTS_DATABASE_URL leads nowhere: {error}",
    "outage": "the database does not answer ({error}): is it running, and is RESULTS_DATABASE_URL right?",
    "login": "the database refuses the user and password in RESULTS_DATABASE_URL: {error}",
    "database": "RESULTS_DATABASE_URL names a database that is not there: {error}",
    "schema": "the database is without our schema ({error}): run `zof-results schema apply`",
    "rights": "the user in RESULTS_DATABASE_URL may not do this: {error}",
}


class NoDatabase(ServiceError):
    """The database can't be worked with; the message says what to do about it."""

    def __init__(self, kind: DatabaseErrorKind, said: str) -> None:
        super().__init__(_ADVICE[kind].format(error=said))
        self.kind = kind


def database_url(settings: Settings) -> str:
    """Where the database is. Raises MissingSetting with what to do."""
    if not settings.database_url:
        raise MissingSetting("set RESULTS_DATABASE_URL, for example postgresql://results:secret@localhost/results")
    return settings.database_url


def open_storage(settings: Settings) -> Storage:
    """Where files are kept. There is nothing to close."""
    try:
        return Storage(settings.storage_url)
    except (ValueError, OSError) as error:
        raise MissingSetting(f"RESULTS_ARTIFACTS_URL: {error}") from error


@asynccontextmanager
async def database_pool(settings: Settings, role: DatabaseRole, size: int | None = None) -> AsyncIterator[Pool]:
    """A pool of connections in this role, closed at the end."""
    pool = await database.open_pool(database_url(settings), role, size or settings.database_pool_size)
    try:
        yield pool
    finally:
        await database.close_pool(pool)


@asynccontextmanager
async def database_connection(settings: Settings, role: DatabaseRole) -> AsyncIterator[Connection]:
    """One connection in this role, for a command that ends. Raises NoDatabase."""
    async with database_pool(settings, role, 1) as pool:
        async with database_errors_explained():
            await probe(pool)
        async with outages_as_unavailable(), pool.acquire() as connection:
            yield connection


async def check_database(settings: Settings, role: DatabaseRole) -> None:
    """Raises NoDatabase for what waiting would not mend. An outage is warned of: it is waited out."""
    try:
        async with database_connection(settings, role):
            pass
    except NoDatabase as error:
        if error.kind != "outage":
            raise
        log.warning("database_unreachable", error=str(error))


@asynccontextmanager
async def database_errors_explained() -> AsyncIterator[None]:
    """Turns what is wrong with the database itself into NoDatabase."""
    try:
        yield
    except Exception as error:
        kind = database_error_kind(error)
        if kind is None:
            raise
        raise NoDatabase(kind, _said(error)) from error


def _said(error: Exception) -> str:
    """The first line of what it says: those behind it are for programmers."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return said.splitlines()[0]
