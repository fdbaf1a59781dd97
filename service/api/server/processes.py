"""Several processes that serve on the same sockets, and the parent that keeps them running until it is told to stop."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Final

from service.log import log
from service.stopping import set_stop_handler

Serve = Callable[[Sequence[socket.socket], int], None]

_TICK_S: Final = 0.2
_SHORTEST_LIFE_S: Final = 1.0  # one that keeps dying is started this often
_STOP_S: Final = 30.0  # longer than one takes to drain

_FORKS: Final = multiprocessing.get_context("fork")  # the sockets are the child's as they are


@dataclass
class _Child:
    process: BaseProcess
    started_at: float


def keep_serving(serve: Serve, sockets: Sequence[socket.socket], count: int) -> None:
    """Runs `serve` in so many children and starts those that die again, until SIGTERM or SIGINT; then all drain.

    A child is told to stop by the end of a pipe that this process alone holds open: none outlives it. One that is
    started in the place of another has its name.
    """
    stopping: list[int] = []  # the stop signals received
    set_stop_handler(lambda number, _: stopping.append(number))
    told, alive = os.pipe()

    def child() -> None:
        os.close(alive)
        serve(sockets, told)

    children = [_start(child, f"api-{number}") for number in range(count)]
    while not stopping:
        wait([running.process.sentinel for running in children if running.process.is_alive()], _TICK_S)
        if not stopping:
            children = [_restarted(running, child) for running in children]
    os.close(alive)
    _await_end(children)
    os.close(told)


def _start(child: Callable[[], None], name: str) -> _Child:
    process = _FORKS.Process(target=child, name=name)
    process.start()
    return _Child(process, time.monotonic())


def _restarted(running: _Child, child: Callable[[], None]) -> _Child:
    """The same where it lives or was started only just now."""
    if running.process.is_alive() or time.monotonic() - running.started_at < _SHORTEST_LIFE_S:
        return running
    log.warning("api_process_died", pid=running.process.pid, exit_code=running.process.exitcode)
    return _start(child, running.process.name)


def _await_end(children: Sequence[_Child]) -> None:
    """Until all have drained; who takes too long is killed."""
    deadline = time.monotonic() + _STOP_S
    for child in children:
        child.process.join(max(0.0, deadline - time.monotonic()))
        if child.process.is_alive():
            child.process.kill()
            child.process.join()
