"""Runs the API as one process or several on one port: listens, serves, drains on SIGTERM."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

import uvloop

from service.api.app import make_app
from service.api.server.connections import address_of, bind, serving
from service.api.server.multiprocess_metrics import counting_together, delete_where_orphaned
from service.api.server.processes import keep_serving
from service.api.server.rate_limit_counters import redis_pool
from service.log import log
from service.resources import database_url, open_storage
from service.settings import Settings
from service.stopping import stop_on_signals

_DRAIN_S: Final = 20


def run(settings: Settings, processes: int = 1) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is under way and returns.

    Raises CannotListen where the port is taken, and MissingSetting or Unavailable where there is no database.
    """
    database_url(settings)  # what every process would fail at is said once, before there are any
    open_storage(settings)
    redis_pool(settings)
    sockets = bind(settings.http_host, settings.http_port)
    if processes == 1:
        uvloop.run(_serve(settings, sockets))
        return
    with counting_together():
        keep_serving(partial(_serve_beside, settings), sockets, processes)


def _serve_beside(settings: Settings, sockets: Sequence[socket.socket], told: int) -> None:
    """As one of several."""
    uvloop.run(_serve(settings, sockets, told))
    delete_where_orphaned()


async def _serve(settings: Settings, sockets: Sequence[socket.socket], told: int | None = None) -> None:
    """Until a signal, or the end of the pipe `told`."""
    stop = stop_on_signals()
    if told is not None:
        asyncio.get_running_loop().add_reader(told, stop.set)
    async with serving(make_app(settings), sockets, _DRAIN_S):
        log.info("listening", url=f"http://{address_of(sockets[0])}")
        await stop.wait()
        if told is not None:
            asyncio.get_running_loop().remove_reader(told)
        log.info("draining", at_most_s=_DRAIN_S)
