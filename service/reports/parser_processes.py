"""Child processes that parse reports, so that a large or hostile report can't block or crash a worker."""

import asyncio
import os
import signal
import traceback
from collections.abc import Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Final, NamedTuple

from service.domain.reports import ReportLimits
from service.reports.errors import malformed
from service.reports.uploads import ReadUpload, ReportFile, read_upload

_TIMEOUT_S: Final = 900.0
_NICE: Final = 10


class _ParserChild(NamedTuple):
    """A running child process, which receives one report after another and sends the outcome of each.

    A pipe is used instead of a process pool: the semaphores of a pool stay in /dev/shm if the worker and Python's
    resource tracker are killed together.
    """

    process: BaseProcess
    pipe: "Connection[Any, Any]"

    async def call(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload | Exception:
        """Return the outcome of a report. Raises EOFError or OSError if the process has crashed."""
        await asyncio.to_thread(self.pipe.send, (files, limits))
        await _wait_until_readable(self.pipe.fileno())
        outcome: ReadUpload | Exception = await asyncio.to_thread(self.pipe.recv)
        return outcome


class ParserProcess:
    """A child process that parses one report at a time. After a crash, the next report starts a new process."""

    def __init__(self) -> None:
        self._child: _ParserChild | None = None

    async def read(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
        """Run `read_upload` in the child. Raises ReportError also if the child crashes or exceeds the timeout."""
        self._child = self._child or _start()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                outcome = await self._child.call(files, limits)
        except TimeoutError:
            self.stop()
            raise malformed(f"the upload couldn't be parsed within {_TIMEOUT_S:.0f} s") from None
        except (EOFError, OSError):
            self.stop()
            raise malformed("the parser process crashed while it parsed the upload") from None
        except asyncio.CancelledError:
            self.stop()
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Kill the child process, even if it is parsing a report."""
        if self._child is not None:
            self._child.process.kill()
            self._child = None


def _start() -> _ParserChild:
    context = get_context("spawn")
    pipe, pipe_of_child = context.Pipe()
    process = context.Process(target=_serve, args=(pipe_of_child,), daemon=True)
    process.start()
    pipe_of_child.close()  # so that the pipe ends when the child exits
    return _ParserChild(process, pipe)


async def _wait_until_readable(file: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(file, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(file)


def _serve(pipe: "Connection[Any, Any]") -> None:
    """Parse reports until the parent closes the pipe.

    Ignores SIGINT, because Ctrl-C in a terminal is for the parent, and exits together with the parent. A large report
    has a lower priority than requests and events, which take milliseconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    Thread(target=_exit_with_parent, daemon=True).start()
    while True:
        try:
            files, limits = pipe.recv()
        except EOFError:
            return
        pipe.send(_outcome(files, limits))


def _outcome(files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload | Exception:
    try:
        return read_upload(files, limits)
    except Exception as error:
        error.add_note("".join(traceback.format_tb(error.__traceback__)))  # a pickled error has no traceback
        return error


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
