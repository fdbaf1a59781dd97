"""The entry point of the API: one process or several on one port, which drain on SIGTERM."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import uvloop
from aiohttp import web

from service.api.client_archives import store_at_start
from service.api.http.rate_limit_counters import redis_pool
from service.api.server.connection_limits import max_connections
from service.api.server.connections import bind_sockets, format_address, serve_app
from service.api.server.multiprocess_metrics import delete_metrics_if_orphaned, multiprocess_metrics
from service.api.server.processes import run_processes
from service.log import log
from service.resources import database_url, open_storage, raise_descriptor_limit, tracing
from service.settings import Settings
from service.stopping import stop_on_signals
from service.version import find_build

MakeApp = Callable[[Settings], web.Application]

_DRAIN_S: Final = 20


def run(settings: Settings, make_app: MakeApp, processes: int = 1) -> None:
    """Serve until SIGTERM or SIGINT, finish the requests in progress, and return.

    Raises CannotListen if the port isn't available, and MissingSetting or Unavailable if there is no database.
    """
    database_url(settings)  # report wrong settings once, before any process starts
    open_storage(settings)
    redis_pool(settings)
    sockets = bind_sockets(settings.http_host, settings.http_port)
    if processes == 1:
        uvloop.run(_serve(settings, make_app, sockets))
        return
    with multiprocess_metrics():
        run_processes(partial(_serve_in_child, settings, make_app), sockets, processes)


def _serve_in_child(settings: Settings, make_app: MakeApp, sockets: Sequence[socket.socket], stop_pipe: int) -> None:
    uvloop.run(_serve(settings, make_app, sockets, stop_pipe))
    delete_metrics_if_orphaned()


async def _serve(
    settings: Settings, make_app: MakeApp, sockets: Sequence[socket.socket], stop_pipe: int | None = None
) -> None:
    """Serve until a stop signal or, in a child process, until the parent closes the pipe."""
    stop = stop_on_signals()
    if stop_pipe is not None:
        asyncio.get_running_loop().add_reader(stop_pipe, stop.set)
    limit = max_connections(settings, raise_descriptor_limit())
    await store_at_start(open_storage(settings))  # not before the fork, which the threads of the storage don't survive
    with tracing("api"):
        async with serve_app(make_app(settings), sockets, _DRAIN_S, limit):
            log.info("listening", url=f"http://{format_address(sockets[0])}", **find_build())
            await stop.wait()
            if stop_pipe is not None:
                asyncio.get_running_loop().remove_reader(stop_pipe)
            log.info("draining", timeout_s=_DRAIN_S)
