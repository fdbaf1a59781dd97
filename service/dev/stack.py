"""The whole product on one machine: servers, schema, a key, the API, the consumers, first data."""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from service.dev import demo, first_data, rabbitmq, ready
from service.dev.parts import Part, PartError
from service.dev.ports import is_free, kept_port
from service.dev.postgres import Postgres
from service.dev.processes import wait_until
from service.dev.programs import Program, answers_ok
from service.dev.queues import has_consumers
from service.dev.rabbitmq import RabbitMQ
from service.dev.supervisor import Supervisor, prepare
from service.settings import Settings

_DATABASE: Final = "results"
_DEV_SETTINGS: Final = {"rate_limit": "off", "webhook_allow_loopback": "true"}  # unless they are set
_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a shell's background jobs come with SIGINT ignored
_ONCE_MORE_S: Final = 0.5
_FIRST_DATA_TIMEOUT_S: Final = 10.0
_WITHOUT_BROKER: Final = """\
without RabbitMQ: the embedded queue stands in; reports, exports and webhooks work, only the AMQP exchange is not there
(install rabbitmq-server, or set RESULTS_AMQP_URL, to have it)"""
_EVERY_ADDRESS: Final = ("0.0.0.0", "::", "")  # noqa: S104 - recognised here, not listened on


def run(settings: Settings, *, with_rabbitmq: bool = True) -> None:
    """Runs everything in the foreground until Ctrl-C, SIGTERM or SIGHUP, and stops all that it started.

    Where there is no RabbitMQ, or none is wanted, the embedded queue stands in.
    """
    for number in (*_STOPS, signal.SIGALRM):
        signal.signal(number, _interrupt)
    with _alone_in(settings.dev_dir.absolute()) as directory:
        stack = Stack(settings, directory, with_rabbitmq=with_rabbitmq and rabbitmq.is_installed())
        try:
            stack.start()
            stack.watch()
        except KeyboardInterrupt:
            _say("stopping")
        finally:
            for number in (*_STOPS, signal.SIGALRM):  # what has begun to stop is not left half stopped
                signal.signal(number, signal.SIG_IGN)
            stack.stop()


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    """Once more after a moment: where it meets a callback of the interpreter, such as one of fork, it is swallowed."""
    signal.setitimer(signal.ITIMER_REAL, _ONCE_MORE_S)
    raise KeyboardInterrupt


class Stack:
    """The parts of one local stack; all of its state is in one directory."""

    def __init__(self, settings: Settings, directory: Path, *, with_rabbitmq: bool) -> None:
        self._settings = settings
        self._directory = directory
        self._ready_file = directory / "ready.json"
        self._key = ""
        self._postgres = None if settings.database_url else Postgres(directory / "postgres", log=self._log("postgres"))
        self._rabbitmq: RabbitMQ | None = None
        if with_rabbitmq and not settings.amqp_url:
            self._rabbitmq = RabbitMQ(directory / "rabbitmq", log=self._log("rabbitmq"))
        self._api = self._program("api", ("service", "api"), self._api_answers)
        self._consumers = self._program("consumers", ("consumers",), self._events_are_consumed)
        self._supervisor = Supervisor(_say, changed=self._write_ready)

    def start(self) -> None:
        """Returns when everything is ready and, on the first start, has been shown to work."""
        began = time.monotonic()
        ready.remove(self._ready_file)
        self._prepare()
        self._start_servers()
        self._key = demo.kept_key(self._settings, self._directory / "key")
        self._supervisor.start(self._api, self._consumers)
        self._send_first_data()
        self._write_ready()
        _say(f"ready after {time.monotonic() - began:.1f} s; the logs are in {self._directory / 'log'}")
        own = self._postgres is not None
        _say(_what_to_try(self._settings, self._api_url, self._key, self._ready_file, is_own_database=own))

    def watch(self) -> None:
        self._supervisor.watch()

    def stop(self) -> None:
        ready.remove(self._ready_file)
        self._supervisor.stop()

    def _prepare(self) -> None:
        prepare([*self._servers, self._api, self._consumers])
        addresses: dict[str, object] = {"http_port": self._choose_http_port()}
        if self._postgres:
            addresses["database_url"] = self._postgres.database_url(_DATABASE)
        if self._rabbitmq:
            addresses["amqp_url"] = self._rabbitmq.url
        self._settings = self._settings.model_copy(update=addresses)

    def _choose_http_port(self) -> int:
        """The port that was asked for, else that of the start before, else the default, else a free one."""
        asked, file = self._settings.http_port, self._directory / "http-port"
        if "http_port" in self._settings.model_fields_set:
            file.unlink(missing_ok=True)
        port = kept_port(file, asked or None)
        if asked not in (port, 0):
            _say(f"port {asked} is taken" if not is_free(asked) else f"keeping port {port} of the start before")
        return port

    def _start_servers(self) -> None:
        _say(f"starting {' and '.join(part.name for part in self._servers) or 'with the given servers'}")
        if not self._settings.amqp_url:
            _say(_WITHOUT_BROKER)
        self._supervisor.start(*self._servers)
        if self._postgres:
            self._postgres.create_database(_DATABASE)

    def _send_first_data(self) -> None:
        """Returns when the API shows them: what we say to try must work at once."""
        sent = first_data.send_once(self._settings, self._directory / "first-data")
        shown = [self._shows(f"/v1/runs/{run_id}") for run_id in sent]
        if sent:
            _say(f"sent {len(sent)} first runs, {sum(shown)} are stored: {', '.join(sent)}")

    def _shows(self, path: str) -> bool:
        host, port = self._api_host, self._settings.http_port
        return wait_until(lambda: answers_ok(host, port, path, self._key), _FIRST_DATA_TIMEOUT_S)

    @property
    def _servers(self) -> list[Part]:
        return [part for part in (self._rabbitmq, self._postgres) if part]

    @property
    def _api_url(self) -> str:
        return f"http://{self._api_host}:{self._settings.http_port}"

    @property
    def _api_host(self) -> str:
        return "127.0.0.1" if self._settings.http_host in _EVERY_ADDRESS else self._settings.http_host

    def _api_answers(self) -> bool:
        return answers_ok(self._api_host, self._settings.http_port, "/readyz")

    def _events_are_consumed(self) -> bool:
        if not self._settings.amqp_url:
            return self._consumers.is_running()
        queue = f"{self._settings.queue_prefix}results.runs"
        return asyncio.run(has_consumers(self._settings.amqp_url, queue))

    def _program(self, name: str, module: tuple[str, ...], is_ready: Callable[[], bool]) -> Program:
        command = (sys.executable, "-m", *module)
        directory, log = self._directory / "programs", self._log(name)
        return Program(name, command, directory, log=log, settings=self._environment, is_ready=is_ready)

    def _environment(self) -> Mapping[str, str]:
        settings = self._settings
        unless_set = {name: value for name, value in _DEV_SETTINGS.items() if name not in settings.model_fields_set}
        return {
            **{f"RESULTS_{name.upper()}": value for name, value in unless_set.items()},
            "RESULTS_DATABASE_URL": settings.database_url or "",
            "RESULTS_AMQP_URL": settings.amqp_url or "",
            "RESULTS_ARTIFACTS_URL": settings.storage_url,
            "RESULTS_HTTP_HOST": settings.http_host,
            "RESULTS_HTTP_PORT": str(settings.http_port),
            "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true",
            "RESULTS_RATE_LIMIT": settings.rate_limit if "rate_limit" in settings.model_fields_set else "off",
        }

    def _log(self, name: str) -> Path:
        return self._directory / "log" / f"{name}.log"

    def _write_ready(self) -> None:
        settings = self._settings
        facts = ready.Ready(
            pid=os.getpid(),
            api_url=self._api_url,
            api_key=self._key,
            amqp_url=settings.amqp_url,
            database_url=settings.database_url or "",
            artifacts_url=settings.storage_url,
            processes=ready.Processes(
                api=_pids(self._api),
                consumers=_pids(self._consumers),
                postgres=self._postgres.pid if self._postgres else None,
                rabbitmq=self._rabbitmq.pid if self._rabbitmq else None,
            ),
        )
        ready.write(self._ready_file, facts)


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[Path]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PartError(f"it is running in {directory} already; RESULTS_DEV_DIR names another place") from None
        yield directory


def _pids(part: Part) -> list[int]:
    return [part.pid] if part.pid else []


def _say(line: str) -> None:
    """Tells the terminal, and goes on where nobody listens any more."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def _what_to_try(settings: Settings, api_url: str, key: str, ready_file: Path, *, is_own_database: bool) -> str:
    broker = f" RESULTS_AMQP_URL={settings.amqp_url}" if settings.amqp_url else ""
    for_operators = f"""
  export RESULTS_DATABASE_URL={settings.database_url}{broker}
  zof-results dead-letters list   # keys, organizations, audit: --help
"""
    return f"""
  export RESULTS_URL={api_url} RESULTS_API_KEY={key}
  curl -H "Authorization: Bearer $RESULTS_API_KEY" "$RESULTS_URL/v1/runs"
  curl -H "Authorization: Bearer $RESULTS_API_KEY" "$RESULTS_URL/v1/results?status=failed&limit=3"
  curl "$RESULTS_URL/readyz"
{for_operators if is_own_database else ""}
{ready_file} has every address, for programs. Ctrl-C stops all of it; its state stays for the next start.
"""
