"""Opens and closes the resources of a process; cli, api, and consumers select which ones a process needs."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Final

from service.database import database, migrations
from service.database.database import Connection, DatabaseRole, Pool, probe
from service.database.encryption import InvalidSecretKey, SecretCipher
from service.database.engines import ENGINES
from service.database.errors import DatabaseErrorKind, OutagesAsUnavailable, database_error_kind, is_outage
from service.domain.backoff import Backoff, limited
from service.domain.errors import ServiceError, Unavailable
from service.log import log
from service.retries import with_retries
from service.settings import Settings
from service.storage import Storage
from service.tracing.sdk import TracingUnavailable, exporting

_MAX_DESCRIPTORS: Final = 65_536
_STORAGE_TIMEOUT_S: Final = 3.0
_SCHEMA_KINDS: Final = frozenset({"schema", "migrations", "rights", "distribution"})  # that a command can fix

_MESSAGES: Final[dict[DatabaseErrorKind, str]] = {
    "address": "RESULTS_DATABASE_URL: the address can't be reached: {error}",
    "outage": "the database doesn't respond ({error}). Check that it is running and RESULTS_DATABASE_URL is correct.",
    "login": "RESULTS_DATABASE_URL: the database rejects the user or password: {error}",
    "database": "RESULTS_DATABASE_URL: the database doesn't exist: {error}",
    "schema": "the schema isn't installed in the database ({error}). Run `zof-results schema apply`.",
    "migrations": "the database lacks migrations of this version: {error}. Run `zof-results schema apply`.",
    "engine": "RESULTS_DATABASE_ENGINE: {error}",
    "distribution": "RESULTS_DATABASE_ENGINE: {error}. Run `zof-results schema distribute`.",
    "rights": "RESULTS_DATABASE_URL: the user doesn't have the required rights: {error}. If the database roles aren't "
    "granted to the user, run `zof-results schema apply --grant-to USER`.",
}


class MissingSetting(ServiceError):
    """A required setting is missing or can't be used."""


class NoDatabase(ServiceError):
    """The database can't be used; the message states how to fix it."""

    def __init__(self, kind: DatabaseErrorKind, error_text: str) -> None:
        super().__init__(_MESSAGES[kind].format(error=error_text))
        self.kind = kind


def database_url(settings: Settings) -> str:
    """Return the URL of the database. Raises MissingSetting."""
    if not settings.database_url:
        raise MissingSetting(
            "RESULTS_DATABASE_URL: is required, for example postgresql://results:secret@localhost/results"
        )
    return settings.database_url


def open_storage(settings: Settings) -> Storage:
    """Return the object storage, which doesn't need to be closed. Raises MissingSetting if its URL can't be used."""
    try:
        return Storage(settings.storage_url, settings.bucket_key)
    except (ValueError, OSError) as error:
        raise MissingSetting(f"RESULTS_ARTIFACTS_URL: {error}") from error


def open_secret_cipher(settings: Settings) -> SecretCipher:
    """Return the cipher of stored secrets. Log a warning if there is no key. Raises MissingSetting."""
    keys = _secret_keys(settings)
    if not keys:
        log.warning("webhook_secrets_not_encrypted", fix="set RESULTS_SECRET_KEYS or RESULTS_SECRET_KEYS_FILE")
    try:
        return SecretCipher(keys)
    except InvalidSecretKey as error:
        raise MissingSetting(f"RESULTS_SECRET_KEYS: {error}") from None


def _secret_keys(settings: Settings) -> list[str]:
    keys, file = settings.secret_keys, settings.secret_keys_file
    if keys and file:
        raise MissingSetting("RESULTS_SECRET_KEYS_FILE: must not be set together with RESULTS_SECRET_KEYS")
    if file is None:
        return [key.strip() for key in keys.get_secret_value().split(",") if key.strip()] if keys else []
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise MissingSetting(f"RESULTS_SECRET_KEYS_FILE: {error}") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise MissingSetting(f"RESULTS_SECRET_KEYS_FILE: {file} contains no key")
    return found


async def check_secret_keys(pool: Pool, cipher: SecretCipher) -> None:
    """Raise MissingSetting if a stored secret needs a key that the cipher doesn't have.

    Otherwise, deliveries fail, and their webhooks are disabled after some days. An outage postpones no start.
    """
    from service.webhooks.secrets import find_unknown_keys  # commands start faster without the contracts of events

    try:
        async with pool.acquire() as connection:
            unknown = await find_unknown_keys(connection, cipher)
    except Exception as error:
        if not is_outage(error):
            raise
        log.warning("secret_keys_not_checked", error=repr(error))
        return
    if unknown:
        raise MissingSetting(
            f"RESULTS_SECRET_KEYS: stored webhook secrets need the keys with the IDs {', '.join(unknown)}; add them"
        )


async def check_storage(storage: Storage) -> str | None:
    """Return the reason why the object storage can't be used, or None. Log the reason, because the process can wait."""
    try:
        async with asyncio.timeout(_STORAGE_TIMEOUT_S):
            await storage.check()
    except (Unavailable, TimeoutError) as error:
        reason = str(error) or "no response in time"
        cause = str(error.__cause__).partition("\n")[0] if error.__cause__ else None
        log.warning("storage_unreachable", storage=storage.url, error=reason, cause=cause)
        return reason
    return None


@contextmanager
def tracing(process: str) -> Iterator[None]:
    """Export the spans of this process in the block if OTEL_… variables request it. Log why it isn't possible."""
    with ExitStack() as opened:
        try:
            is_on = opened.enter_context(exporting(os.environ, f"zof-results-{process}"))
        except TracingUnavailable as error:
            log.warning("tracing_unavailable", error=str(error))
        else:
            if is_on:
                log.info("tracing_started")
        yield


@asynccontextmanager
async def database_pool(settings: Settings, role: DatabaseRole, size: int | None = None) -> AsyncIterator[Pool]:
    """Open a pool of connections with this role, and close it after the block."""
    engine = ENGINES[settings.database_engine]
    pool = await database.open_pool(database_url(settings), role, size or settings.database_pool_size, engine)
    try:
        yield pool
    finally:
        await database.close_pool(pool)


@asynccontextmanager
async def database_connection(settings: Settings, role: DatabaseRole) -> AsyncIterator[Connection]:
    """Open one connection with this role, for a short command. Raises NoDatabase."""
    async with database_pool(settings, role, 1) as pool:
        async with database_errors_explained():
            await probe(pool)
        async with OutagesAsUnavailable(), pool.acquire() as connection:
            yield connection


async def wait_for_schema(settings: Settings, role: DatabaseRole, stopping: asyncio.Event) -> None:
    """Wait until the database has the schema of this version, which `schema apply` can install in the meantime.

    Log a warning for an outage and return, because the process retries. Raises NoDatabase for another persistent error
    or after `schema_wait_s`, and Stopped if `stopping` is set.
    """

    def log_wait(error: Exception, delay_s: float) -> None:
        log.warning("waiting_for_schema", error=str(error), retry_in_s=round(delay_s, 1))

    try:
        await with_retries(
            lambda: _check_schema(settings, role),
            lambda error: isinstance(error, NoDatabase) and error.kind in _SCHEMA_KINDS,
            limited(Backoff(1, 5), settings.schema_wait_s),
            stopping,
            log_wait,
        )
    except NoDatabase as error:
        if error.kind != "outage":
            raise
        log.warning("database_unreachable", error=str(error))


async def _check_schema(settings: Settings, role: DatabaseRole) -> None:
    """Raise NoDatabase if the database can't be used or lacks a migration of this version."""
    async with database_connection(settings, role) as connection:
        missing = await migrations.missing(connection)
    if missing:
        raise NoDatabase("migrations", ", ".join(f"{each.version:04} {each.name}" for each in missing))


@asynccontextmanager
async def database_errors_explained() -> AsyncIterator[None]:
    """Convert errors of the connection or the schema to NoDatabase."""
    try:
        yield
    except Exception as error:
        kind = database_error_kind(error)
        if kind is None:
            raise
        raise NoDatabase(kind, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """Return the first line of the message; the other lines are details for programmers."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def raise_descriptor_limit() -> int:
    """Raise the soft limit of file descriptors to the hard limit, at most 65,536. Return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= target:
        return _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return target
