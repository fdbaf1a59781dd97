"""Runs the API as a process: listens, serves, drains on SIGTERM."""

import asyncio
import signal
from typing import Final

import uvloop
from aiohttp import web

from service.api.app import make_app
from service.domain.errors import ServiceError
from service.log import log
from service.settings import Settings

_DRAIN_S: Final = 20


class CannotListen(ServiceError):
    """The address can't be listened on."""


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is under way and returns.

    Raises CannotListen where the port is taken, and MissingSetting or Unavailable where there is no database.
    """
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = _stop_signal()
    # Compressed reports stay compressed until a child of the reports consumer unpacks them, within limits.
    runner = web.AppRunner(make_app(settings), access_log=None, shutdown_timeout=_DRAIN_S, auto_decompress=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.http_host, settings.http_port)
        await _listen(site, settings)
        log.info("listening", url=_address(runner))
        await stop.wait()
        log.info("draining", at_most_s=_DRAIN_S)
    finally:
        await runner.cleanup()


async def _listen(site: web.TCPSite, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        raise CannotListen(f"{settings.http_host}:{settings.http_port}: {error.strerror or error}") from error


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
