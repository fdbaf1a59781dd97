"""The entry point of the API: one process or several on one port, which drain on SIGTERM."""

import asyncio
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Final

import uvloop
from aiohttp import web

from service.api.client_files import store_at_start
from service.api.metrics import delete_metrics_if_orphaned, multiprocess_metrics
from service.api.server.connections import bind_sockets, format_address, max_connections, serve_app
from service.http.rate_limits import redis_pool
from service.log import log
from service.processes import database_url, open_storage, raise_descriptor_limit, tracing
from service.settings import Settings
from service.stopping import set_stop_handler, stop_on_signals
from service.version import find_build

_POLL_S: Final = 0.2
_MIN_RESTART_INTERVAL_S: Final = 1.0  # for a process that crashes immediately after its start
_STOP_TIMEOUT_S: Final = 30.0  # longer than a process needs to drain
_DRAIN_S: Final = 20
_FORK: Final = multiprocessing.get_context("fork")  # a forked child inherits the sockets

Serve = Callable[[Sequence[socket.socket], int], None]
MakeApp = Callable[[Settings], web.Application]


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


@dataclass
class _Child:
    process: BaseProcess
    started_at: float


def run_processes(serve: Serve, sockets: Sequence[socket.socket], count: int) -> None:
    """Run `serve` in `count` child processes, restart those that exit, and drain all on SIGTERM or SIGINT.

    Only this process has the write end of the stop pipe. When it closes, even because this process was killed, every
    child reads the end of the pipe and stops. A restarted child has the name of the child that it replaces.
    """
    stop_signals: list[int] = []
    set_stop_handler(lambda number, _: stop_signals.append(number))
    stop_read, stop_write = os.pipe()

    def child() -> None:
        os.close(stop_write)
        try:
            serve(sockets, stop_read)
        except Exception as error:  # multiprocessing would print it with its secrets
            sys.excepthook(type(error), error, error.__traceback__)
            sys.exit(1)

    children = [_start(child, f"api-{number}") for number in range(count)]
    while not stop_signals:
        wait([running.process.sentinel for running in children if running.process.is_alive()], _POLL_S)
        if not stop_signals:
            children = [_restart_if_dead(running, child) for running in children]
    os.close(stop_write)
    for bound in sockets:
        bound.close()  # otherwise, clients could connect during the drain, without a process that accepts them
    _join_or_kill(children)
    os.close(stop_read)


def _start(child: Callable[[], None], name: str) -> _Child:
    process = _FORK.Process(target=child, name=name)
    process.start()
    return _Child(process, time.monotonic())


def _restart_if_dead(running: _Child, child: Callable[[], None]) -> _Child:
    """Return a new child if this one has exited, but not within the minimum interval after its start."""
    if running.process.is_alive() or time.monotonic() - running.started_at < _MIN_RESTART_INTERVAL_S:
        return running
    log.warning("api_process_exited", pid=running.process.pid, exit_code=running.process.exitcode)
    return _start(child, running.process.name)


def _join_or_kill(children: Sequence[_Child]) -> None:
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    for child in children:
        child.process.join(max(0.0, deadline - time.monotonic()))
        if child.process.is_alive():
            child.process.kill()
            child.process.join()
