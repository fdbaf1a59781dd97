"""Runs the API as one process or several on one port: listens, serves, drains on SIGTERM."""

import asyncio
import signal
import socket
from collections.abc import Sequence
from typing import Final

import uvloop
from aiohttp import web

from service.api.app import make_app
from service.api.processes import keep_serving
from service.api.request_counts import redis_pool
from service.domain.errors import ServiceError
from service.log import log
from service.resources import database_url, open_storage
from service.settings import Settings

_DRAIN_S: Final = 20


class CannotListen(ServiceError):
    """The address can't be listened on."""


def run(settings: Settings, processes: int = 1) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is under way and returns.

    Raises CannotListen where the port is taken, and MissingSetting or Unavailable where there is no database.
    """
    database_url(settings)  # what every process would fail at is said once, before there are any
    open_storage(settings)
    redis_pool(settings)
    sockets = _bind(settings)
    if processes == 1:
        uvloop.run(_serve(settings, sockets))
        return
    keep_serving(lambda opened, told: uvloop.run(_serve(settings, opened, told)), sockets, processes)


async def _serve(settings: Settings, sockets: Sequence[socket.socket], told: int | None = None) -> None:
    """Until a signal, or the end of the pipe `told`."""
    stop = _stop_signal()
    if told is not None:
        asyncio.get_running_loop().add_reader(told, stop.set)
    # Compressed reports stay compressed until a child of the reports consumer unpacks them, within limits.
    runner = web.AppRunner(make_app(settings), access_log=None, shutdown_timeout=_DRAIN_S, auto_decompress=False)
    await runner.setup()
    try:
        for opened in sockets:
            await _listen(web.SockSite(runner, opened), settings)
        log.info("listening", url=_address(runner))
        await stop.wait()
        if told is not None:
            asyncio.get_running_loop().remove_reader(told)
        log.info("draining", at_most_s=_DRAIN_S)
    finally:
        await runner.cleanup()


def _bind(settings: Settings) -> list[socket.socket]:
    """A socket for each address of the host. Nobody is let in before something listens on it."""
    try:
        found = socket.getaddrinfo(
            settings.http_host, settings.http_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return [_bound(family, address) for family, _, _, _, address in dict.fromkeys(found)]
    except OSError as error:
        raise _cannot_listen(settings, error) from error


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.bind(address)
    return opened


async def _listen(site: web.SockSite, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        raise _cannot_listen(settings, error) from error


def _cannot_listen(settings: Settings, error: OSError) -> CannotListen:
    return CannotListen(f"{settings.http_host}:{settings.http_port}: {error.strerror or error}")


def _address(runner: web.AppRunner) -> str:
    """The address that was taken, which differs from the settings where those say port 0."""
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
