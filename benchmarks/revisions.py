"""The code of other revisions of this repository, and databases with the same data for two of them."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

ROOT: Final = Path(__file__).parents[1]
_REVISION: Final = "revision"


class Version(NamedTuple):
    """The code of a revision, or of this checkout, and the URL of its database."""

    name: str
    code: Path
    database_url: str

    def run(self, *arguments: str, **settings: str) -> str:
        """Run a command of the service, and return what it prints."""
        environment = {**os.environ, "RESULTS_DATABASE_URL": self.database_url, **settings}
        command = [sys.executable, "-m", "service", *arguments]
        return subprocess.run(
            command, cwd=self.code, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    @contextmanager
    def process(self, *arguments: str, **settings: str) -> Iterator[None]:
        """Run a command of the service while the block runs."""
        environment = {**os.environ, "RESULTS_DATABASE_URL": self.database_url, **settings}
        process = subprocess.Popen([sys.executable, "-m", "service", *arguments], cwd=self.code, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def code_of(revision: str) -> Iterator[Path]:
    """Extract the files of a revision into a temporary folder while the block runs."""
    with tempfile.TemporaryDirectory(prefix="zof-results-revision-") as folder:
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
        yield Path(folder)


def create_version(name: str, code: Path, server_url: str) -> Version:
    """Return the version, with a new database that has its schema."""
    asyncio.run(_execute(server_url, f"CREATE DATABASE {_REVISION}"))
    version = Version(name, code, _with_database(server_url, _REVISION))
    version.run("schema", "apply")
    return version


def copy_for_checkout(version: Version) -> Version:
    """Return this checkout, with a copy of the database of the version and its own schema.

    No process can be connected to the database of the version.
    """
    server_url = _with_database(version.database_url, "postgres")
    asyncio.run(_execute(server_url, f"CREATE DATABASE checkout TEMPLATE {_REVISION}"))
    checkout = Version("this checkout", ROOT, _with_database(version.database_url, "checkout"))
    checkout.run("schema", "apply")
    return checkout


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, command_timeout=600)
    await connection.execute(statement)
    await connection.close()


def _with_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"
