"""A private node of the installed rabbitmq-server, with its own epmd."""

import asyncio
import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPException
from pamqp.common import FieldTable

from service.dev.ports import load_or_choose_port, load_or_create_password
from service.dev.processes import Process, wait_until
from service.dev.programs import ComponentError, StackComponent
from service.domain.addresses import split_hosts
from service.retries import with_alternatives

# Debian's `rabbitmq-server` on the PATH is a wrapper that accepts only the users root and rabbitmq.
_DEBIAN_SERVER: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_USER: Final = "results"
_HOST: Final = "127.0.0.1"
_GREETING: Final = b"AMQP\0\0\x09\x01"
_METHOD_FRAME: Final = b"\x01"
_EPMD_TIMEOUT_S: Final = 5.0
_PROBE_TIMEOUT_S: Final = 1.0
_CONFIRM_TIMEOUT_S: Final = 5.0
_PROBE_QUEUE: Final = "zof-results.dev.probe"
_PROBE_ARGUMENTS: Final[FieldTable] = {"x-queue-type": "quorum", "x-max-length": 1}

_CONFIGURATION: Final = """\
listeners.tcp.1 = {host}:{port}
default_user = {user}
default_pass = {password}
vm_memory_high_watermark.absolute = {memory}
log.console = true
log.console.level = {log_level}
"""


class RabbitMQ(StackComponent):
    """A broker that listens on loopback, with a random password and its data in `directory`.

    `configuration` is added to its file rabbitmq.conf.
    """

    def __init__(
        self,
        directory: Path,
        *,
        memory: str = "1GB",
        log_level: str = "warning",
        log: Path | None = None,
        name: str = "rabbitmq",
        configuration: str = "",
    ) -> None:
        super().__init__(Process(name, directory, log=log, stop_timeout_s=30), directory)
        self._epmd = Process(f"{name}-epmd", directory, log=directory / "epmd.log")
        self._memory = memory
        self._log_level = log_level
        self._configuration = configuration
        self.port = self._distribution_port = self._epmd_port = 0
        self.password = ""

    @property
    def url(self) -> str:
        return f"amqp://{_USER}:{self.password}@{_HOST}:{self.port}/"

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process.stop_orphan()
        self._epmd.stop_orphan()
        self.port = load_or_choose_port(self.directory / "port")
        self._distribution_port = load_or_choose_port(self.directory / "distribution-port")
        self._epmd_port = load_or_choose_port(self.directory / "epmd-port")
        self.password = load_or_create_password(self.directory / "password")
        self._write_configuration()

    def launch(self) -> None:
        self._launch_epmd()
        self.process.launch([server_program()], env=self._environment())

    def is_ready(self) -> bool:
        return accepts_amqp(_HOST, self.port)

    def is_healthy(self) -> bool:
        """Return False if the broker stores no messages, for example after its disk was full."""
        return asyncio.run(stores_messages(self.url))

    def stop(self) -> None:
        super().stop()
        self._epmd.stop()

    def _launch_epmd(self) -> None:
        """Start epmd as a child of this process: RabbitMQ doesn't stop an epmd that it started."""
        if self._epmd.is_running():
            return
        self._epmd.launch([_epmd(), "-port", str(self._epmd_port), "-address", _HOST])
        if not wait_until(lambda: _accepts(_HOST, self._epmd_port), _EPMD_TIMEOUT_S):
            raise ComponentError(f"epmd: doesn't accept connections:\n{self._epmd.tail_of_log()}")

    def _write_configuration(self) -> None:
        (self.directory / "rabbitmq-env.conf").write_text("")
        (self.directory / "enabled_plugins").write_text("[].\n")
        configuration = self.directory / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            _CONFIGURATION.format(
                host=_HOST,
                port=self.port,
                user=_USER,
                password=self.password,
                memory=self._memory,
                log_level=self._log_level,
            )
            + self._configuration
        )

    def _environment(self) -> Mapping[str, str]:
        """Return an environment that isolates the node from other nodes on this machine (files, ports, names)."""
        directory = self.directory.resolve()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
        return {
            **inherited,
            "HOME": str(directory),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": _HOST,
            "RABBITMQ_NODENAME": "results@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": _HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_LOGS": "-",
            # Makes the child process the broker itself, so that SIGTERM stops it.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} "
                # Busy-waiting schedulers use a complete core.
                "+sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }


def is_installed() -> bool:
    return _find_server() is not None and shutil.which("epmd") is not None


def accepts_amqp(host: str, port: int) -> bool:
    """Return whether a broker responds to an AMQP greeting; its port is open long before that."""
    try:
        with socket.create_connection((host, port), _PROBE_TIMEOUT_S) as connection:
            connection.sendall(_GREETING)
            return connection.recv(1) == _METHOD_FRAME
    except OSError:
        return False


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _find_server() -> str | None:
    return _DEBIAN_SERVER if Path(_DEBIAN_SERVER).exists() else shutil.which("rabbitmq-server")


def server_program() -> str:
    """Return the path of rabbitmq-server. Raises ComponentError if it isn't installed."""
    if (server := _find_server()) is None:
        raise ComponentError(
            "RabbitMQ not found. Install it (apt-get install rabbitmq-server) or set RESULTS_AMQP_URL."
        )
    return server


def _epmd() -> str:
    if (epmd := shutil.which("epmd")) is None:
        raise ComponentError("epmd not found. Install Erlang, which rabbitmq-server requires.")
    return epmd


async def stores_messages(amqp_url: str) -> bool:
    """Return whether a client can log in, and the broker confirms that it has stored a message.

    After a full disk, a broker can accept clients although its quorum queues never recover.
    """
    try:
        async with asyncio.timeout(_CONFIRM_TIMEOUT_S):
            connection = await _connect(amqp_url)
            try:
                channel = await connection.channel()
                queue = await channel.declare_queue(_PROBE_QUEUE, durable=True, arguments=_PROBE_ARGUMENTS)
                await channel.default_exchange.publish(_message(b""), queue.name, mandatory=True)
            finally:
                await connection.close()
            return True
    except (AMQPException, OSError):
        return False


async def has_consumers(amqp_url: str, queue: str) -> bool:
    """Return whether the queue exists and has a consumer; False if the broker is unreachable."""
    try:
        connection = await _connect(amqp_url)
        async with connection, connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return bool(declared.declaration_result.consumer_count)
    except (AMQPException, OSError):
        return False


async def publish(
    amqp_url: str, exchange: str, routing_key: str, bodies: Iterable[bytes], user: str | None = None
) -> None:
    """Publish persistent CloudEvents with publisher confirms. Raises if an event is routed to no queue.

    `user` is the user of the connection, which the messages state.
    """
    connection = await _connect(amqp_url)
    async with connection, connection.channel(on_return_raises=True) as channel:
        target = await channel.get_exchange(exchange)
        for body in bodies:
            await target.publish(_message(body, user), routing_key, mandatory=True)


async def _connect(amqp_url: str) -> AbstractConnection:
    """Connect to the first host of the URL that responds."""
    return await with_alternatives(
        aio_pika.connect, split_hosts(amqp_url), lambda error: isinstance(error, AMQPException | OSError)
    )


def _message(body: bytes, user: str | None = None) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        content_type="application/cloudevents+json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        user_id=user,
    )
