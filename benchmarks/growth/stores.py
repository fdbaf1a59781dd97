"""Databases with generated results. A database that was filled before is used again."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from service.database import migrations
from service.dev.postgres import Postgres, temporary_postgres

_SETTINGS: Final = {
    "autovacuum": "off",  # it would start in the middle of a measurement
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}
_RESULTS_PER_RUN: Final = 232.6  # see dimensions.sql
_STEPS: Final = 24
_FOLDER: Final = Path(__file__).parent


class StoreShape(NamedTuple):
    """The numbers that a database is generated from."""

    results: int
    organizations: int = 20
    months: int = 24

    @property
    def name(self) -> str:
        """The name of the database."""
        return f"growth_{self.results}_{self.organizations}_{self.months}"

    @property
    def runs(self) -> int:
        return max(1, round(self.results / _RESULTS_PER_RUN))


class Server:
    """A PostgreSQL server whose databases are created when they are first used."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def store(self, shape: StoreShape) -> str:
        """Return the URL of a database of this shape with the current schema. Fills it unless a filled one exists."""
        url = self._postgres.database_url(shape.name)
        if asyncio.run(_is_filled(self._postgres.url, shape)):
            asyncio.run(migrations.apply(url))
        else:
            started = time.monotonic()
            self._postgres.create_database(shape.name)
            asyncio.run(_fill(url, shape))
            print(f"filled {shape.name} in {time.monotonic() - started:.0f} s", flush=True)
        return url


@contextmanager
def server(folder: Path | None) -> Iterator[Server]:
    """Start PostgreSQL with its data in this folder, or in a temporary one that is deleted at the end."""
    if folder is None:
        with (
            tempfile.TemporaryDirectory(prefix="zof-results-benchmark-") as temporary,
            temporary_postgres(Path(temporary) / "postgres", settings=_SETTINGS) as postgres,
        ):
            yield Server(postgres)
    else:
        with Postgres(folder, settings=_SETTINGS) as postgres:
            yield Server(postgres)


async def _is_filled(admin_url: str, shape: StoreShape) -> bool:
    """Return whether a filled database exists. A partly filled one is dropped."""
    connection = await asyncpg.connect(admin_url)
    try:
        comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1"
        if await connection.fetchval(comment, shape.name) == "filled":
            return True
        await connection.execute(f"DROP DATABASE IF EXISTS {shape.name}")
        return False
    finally:
        await connection.close()


async def _fill(url: str, shape: StoreShape) -> None:
    await migrations.apply(url)
    connection = await asyncpg.connect(
        url, command_timeout=7200, server_settings={"jit": "off", "work_mem": "256MB", "synchronous_commit": "off"}
    )
    values = {**shape._asdict(), "runs": shape.runs}
    await connection.execute(_read("dimensions.sql", values))
    step = -(-shape.runs // _STEPS)
    for first in range(1, shape.runs + 1 if shape.results else 0, step):
        await connection.execute(_read("results.sql", {"first": first, "last": first + step - 1}))
        print(f"{shape.name}: {min(first + step - 1, shape.runs):,} of {shape.runs:,} runs", flush=True)
    await connection.execute("DROP TABLE generated_runs, generated_cases")
    await connection.execute("VACUUM (ANALYZE)")
    await connection.execute("CHECKPOINT")
    await connection.execute(f"COMMENT ON DATABASE {shape.name} IS 'filled'")
    await connection.close()


def _read(file: str, values: dict[str, int]) -> str:
    """Return the statements with these values. Other braces are part of SQL."""
    text = (_FOLDER / file).read_text()
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text
