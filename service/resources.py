"""Opens what a process needs and closes it again; which process needs what is decided in cli and consumers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.domain.errors import ServiceError
from service.settings import Settings
from service.storage import Storage
from service.store import database
from service.store.database import Pool, Role


class MissingSetting(ServiceError):
    """A setting that this command can't do without is not there."""


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
async def database_pool(settings: Settings, role: Role, size: int | None = None) -> AsyncIterator[Pool]:
    """A pool of connections in this role, closed at the end."""
    pool = await database.open_pool(database_url(settings), role, size or settings.database_pool_size)
    try:
        yield pool
    finally:
        await database.close_pool(pool)
