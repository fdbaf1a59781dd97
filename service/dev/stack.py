"""The local stack of `zof-results dev`: servers, schema, an API key, the API, consumers, and sample data."""

import asyncio
import contextlib
import fcntl
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from service.command_line import print_text
from service.dev import demo_requests, first_data, history, rabbitmq, ready
from service.dev.ports import is_free, load_or_choose_port
from service.dev.postgres import Postgres, wheel_programs
from service.dev.processes import wait_until
from service.dev.programs import ComponentError, Program, StackComponent, responds_ok
from service.dev.rabbitmq import RabbitMQ, has_consumers
from service.dev.supervisor import Supervisor, prepare
from service.settings import Settings
from service.stopping import set_stop_handler
from service.tasks.model import RUNS

_DATABASE: Final = "results"
_COMMAND: Final = "zof-results"
_DEV_SETTINGS: Final = {  # defaults in development
    "rate_limit": "off", "webhook_allow_loopback": "true", "issuer_allow_loopback": "true",
}  # fmt: skip
_FURTHER_SIGNALS: Final = (signal.SIGHUP, signal.SIGALRM)
_REPEAT_INTERRUPT_S: Final = 0.5
_FIRST_DATA_TIMEOUT_S: Final = 20.0
_WITHOUT_BROKER: Final = """\
The stack runs without RabbitMQ: using the embedded queue. Reports, exports, and webhooks work, events over AMQP don't.
To use RabbitMQ, install rabbitmq-server or set RESULTS_AMQP_URL."""
_ALL_INTERFACES: Final = ("0.0.0.0", "::", "")  # noqa: S104 - for a comparison, not to bind


def run(settings: Settings, *, with_rabbitmq: bool = True) -> None:
    """Run the stack in the foreground until Ctrl-C, SIGTERM, or SIGHUP; then stop all components.

    Uses the embedded queue if `with_rabbitmq` is false or RabbitMQ is not installed. Raises ComponentError before it
    creates any file if it needs PostgreSQL, but the wheel with PostgreSQL isn't installed.
    """
    if not settings.database_url:
        wheel_programs()
    set_stop_handler(_interrupt, *_FURTHER_SIGNALS)
    with _locked(settings.dev_dir.absolute()) as directory:
        stack = Stack(settings, directory, with_rabbitmq=with_rabbitmq and rabbitmq.is_installed())
        try:
            stack.start()
            stack.watch()
        except KeyboardInterrupt:
            _log("stopping")
        finally:
            set_stop_handler(signal.SIG_IGN, *_FURTHER_SIGNALS)  # a second signal must not interrupt the shutdown
            stack.stop()


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, and repeat it after a pause: the interpreter ignores it inside a callback (fork)."""
    signal.setitimer(signal.ITIMER_REAL, _REPEAT_INTERRUPT_S)
    raise KeyboardInterrupt


class Stack:
    """The components of one local stack; all of its state is in one directory."""

    def __init__(self, settings: Settings, directory: Path, *, with_rabbitmq: bool) -> None:
        self._settings = settings
        self._directory = directory
        self._ready_file = directory / "ready.json"
        self._key = ""
        self._postgres = (
            None if settings.database_url else Postgres(directory / "postgres", log=self._log_file("postgres"))
        )
        self._rabbitmq: RabbitMQ | None = None
        if with_rabbitmq and not settings.amqp_url:
            self._rabbitmq = RabbitMQ(directory / "rabbitmq", log=self._log_file("rabbitmq"))
        self._api = self._program("api", ("service", "api"), self._is_api_ready)
        self._consumers = self._program("consumers", ("consumers",), self._are_consumers_ready)
        self._supervisor = Supervisor(_log, pids_changed=self._write_ready)

    def start(self) -> None:
        """Start all components; on the first start, also wait until the API returns the initial runs."""
        started_at = time.monotonic()
        self._ready_file.unlink(missing_ok=True)
        self._prepare()
        self._start_servers()
        self._key = ready.load_or_create_key(self._settings, self._directory / "key")
        self._supervisor.start(self._api, self._consumers)
        self._send_first_data()
        self._write_ready()
        _log(f"ready after {time.monotonic() - started_at:.1f} s; logs: {self._directory / 'log'}")
        _log(self._next_steps())

    def watch(self) -> None:
        self._supervisor.watch()

    def stop(self) -> None:
        self._ready_file.unlink(missing_ok=True)
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
        """Return the requested port, the port of the previous start, the default port, or a free port, in this order.

        Raises ComponentError if the requested port is in use: the user's other programs would not find the API.
        """
        requested, file = self._settings.http_port, self._directory / "http-port"
        if "http_port" in self._settings.model_fields_set:
            if requested and not is_free(requested):
                raise ComponentError(
                    f"RESULTS_HTTP_PORT: port {requested} is in use. Set a free port, or 0 to use any free port."
                )
            file.unlink(missing_ok=True)
        port = load_or_choose_port(file, requested or None)
        if requested not in (port, 0):
            reason = "port of the previous start" if is_free(requested) else f"port {requested} is in use"
            _log(f"using port {port} ({reason})")
        return port

    def _start_servers(self) -> None:
        _log(f"starting {' and '.join(server.name for server in self._servers) or 'with external servers'}")
        if not self._settings.amqp_url:
            _log(_WITHOUT_BROKER)
        self._supervisor.start(*self._servers)
        if self._postgres:
            self._postgres.create_database(_DATABASE)

    def _send_first_data(self) -> None:
        """Publish the initial runs and wait until the API returns them: the printed commands need them."""
        sent = first_data.send_once(self._settings, self._directory / "first-data")
        if not sent.samples:
            return
        deadline = time.monotonic() + _FIRST_DATA_TIMEOUT_S
        stored = sum(self._is_stored(run_id, deadline) for run_id in sent.samples)
        _log(f"sent {len(sent.samples)} sample runs, {stored} are stored: {', '.join(sent.samples)}")
        stored = sum(self._is_stored(run_id, deadline) for run_id in sent.history)
        _log(f"sent {len(sent.history)} demo runs, {stored} are stored, in the project {history.PROJECT}")
        if error := demo_requests.send(self._api_url, self._key):
            _log(f"the gates and files of the demo runs are incomplete: {error}")

    def _is_stored(self, run_id: str, deadline: float) -> bool:
        """Wait until the API returns a run, at most until the deadline."""
        host, port = self._api_host, self._settings.http_port
        is_stored = partial(responds_ok, host, port, f"/v1/runs/{run_id}", self._key)
        return wait_until(is_stored, max(0, deadline - time.monotonic()))

    @property
    def _servers(self) -> list[StackComponent]:
        return [server for server in (self._rabbitmq, self._postgres) if server]

    @property
    def _api_url(self) -> str:
        return f"http://{self._api_host}:{self._settings.http_port}"

    @property
    def _api_host(self) -> str:
        return "127.0.0.1" if self._settings.http_host in _ALL_INTERFACES else self._settings.http_host

    def _is_api_ready(self) -> bool:
        """Return whether the API of this stack responds. Another stack that took the port first rejects the key."""
        host, port = self._api_host, self._settings.http_port
        return responds_ok(host, port, "/readyz") and responds_ok(host, port, "/v1/runs?limit=1", self._key)

    def _are_consumers_ready(self) -> bool:
        if not self._settings.amqp_url:
            return self._consumers.is_running()
        queue = f"{self._settings.queue_prefix}{RUNS}"
        return asyncio.run(has_consumers(self._settings.amqp_url, queue))

    def _program(self, name: str, module: tuple[str, ...], is_ready: Callable[[], bool]) -> Program:
        command = (sys.executable, "-m", *module)
        directory, log = self._directory / "programs", self._log_file(name)
        return Program(name, command, directory, log=log, settings=self._environment, is_ready=is_ready)

    def _environment(self) -> Mapping[str, str]:
        settings = self._settings
        defaults = {name: value for name, value in _DEV_SETTINGS.items() if name not in settings.model_fields_set}
        return {
            **{f"RESULTS_{name.upper()}": value for name, value in defaults.items()},
            "RESULTS_DATABASE_URL": settings.database_url or "",
            "RESULTS_AMQP_URL": settings.amqp_url or "",
            "RESULTS_ARTIFACTS_URL": settings.storage_url,
            "RESULTS_HTTP_HOST": settings.http_host,
            "RESULTS_HTTP_PORT": str(settings.http_port),
            "RESULTS_PUBLIC_URL": settings.public_url or self._api_url,
        }

    def _next_steps(self) -> str:
        """Return the addresses and commands to try. The alias names the program of venvs and of uvx in any terminal."""
        return f"""
  Console: {self._api_url}/console
  Sign in with the API key of the next line.

  To send requests and commands, paste the next two lines into another terminal:

  export RESULTS_URL={self._api_url} RESULTS_API_KEY={self._key}
  alias {_COMMAND}={shlex.quote(_command())}

  curl -sS -H "Authorization: Bearer $RESULTS_API_KEY" "$RESULTS_URL/v1/runs"
  curl -sS -H "Authorization: Bearer $RESULTS_API_KEY" "$RESULTS_URL/v1/results?status=failed&limit=3"
  {_COMMAND} gate --run-id {history.run_id_of(history.PULL_REQUEST_RUN)} --max-new-failures 0
{self._steps_of_operators() if self._postgres else ""}
{self._ready_file} contains all addresses in JSON.
Ctrl-C stops the stack; its data stays available for the next start. To delete the data of a stopped stack:

  rm -r {shlex.join(self._data_folders())}
"""

    def _steps_of_operators(self) -> str:
        broker = f" RESULTS_AMQP_URL={self._settings.amqp_url}" if self._settings.amqp_url else ""
        return f"""
  Commands for operators also need these variables:

  export RESULTS_DATABASE_URL={self._settings.database_url}{broker}
  {_COMMAND} dead-letters list
  {_COMMAND} keys list --organization {ready.ORGANIZATION}
"""

    def _data_folders(self) -> list[str]:
        """Return the folder of the stack, and the folder of a PostgreSQL whose account can't access the first one."""
        folders = [self._directory, *([self._postgres.home] if self._postgres else [])]
        return [str(folder) for folder in folders if folder == self._directory or self._directory not in folder.parents]

    def _log_file(self, name: str) -> Path:
        return self._directory / "log" / f"{name}.log"

    def _write_ready(self) -> None:
        settings = self._settings
        state = ready.Ready(
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
        ready.write(self._ready_file, state)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[Path]:
    """Create and lock the directory. Raises ComponentError if it can't be created or another stack uses it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ComponentError(f"{directory}: {error.strerror}. Set RESULTS_DEV_DIR to use another folder.") from error
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ComponentError(
                f"a stack is already running in {directory}. Set RESULTS_DEV_DIR to start another one."
            ) from None
        yield directory


def _pids(component: StackComponent) -> list[int]:
    return [component.pid] if component.pid else []


def _log(line: str) -> None:
    """Write a line to the terminal; ignore a closed terminal."""
    with contextlib.suppress(OSError):
        print_text(line, err=True)


def _command() -> str:
    """Return the command of this process for a shell in any folder."""
    program = Path(sys.argv[0])
    words = [str(program.absolute())] if program.name == _COMMAND else [sys.executable, "-m", "service"]
    return shlex.join(words)
