"""Child processes that parse reports, so that a large or hostile report can't block or crash a worker."""

import asyncio
import os
import signal
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Final, NamedTuple

from service.domain.reports import ReportLimits
from service.reports.errors import ReportError, malformed
from service.reports.uploads import ReadUpload, ReportFile, read_upload

_TIMEOUT_S: Final = 900.0
_NICE: Final = 10


class ParserCrashed(ReportError):
    """The parser process exited while it parsed the upload."""

    def __init__(self) -> None:
        super().__init__("malformed_report", "the parser process crashed while it parsed the upload")


class _ParserChild(NamedTuple):
    """A running child process, which receives one report after another and sends the outcome of each.

    A pipe is used instead of a process pool: the semaphores of a pool stay in /dev/shm if the worker and Python's
    resource tracker are killed together. `thread` reads and writes the pipe: uvloop makes a file that it watches
    non-blocking in both directions, and a Connection can't continue a partial read or write.
    """

    process: BaseProcess
    pipe: "Connection[Any, Any]"
    thread: ThreadPoolExecutor

    async def call(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload | Exception:
        """Return the outcome of a report. Raises ParserCrashed."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self._exchange, files, limits)

    def _exchange(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload | Exception:
        try:
            self.pipe.send((files, limits))
            outcome: ReadUpload | Exception = self.pipe.recv()
        except (EOFError, OSError):  # the pipe is local and blocking, so the only error is its end
            raise ParserCrashed from None
        return outcome

    def stop(self) -> None:
        """Kill the process, which ends the pipe and therefore the call in progress."""
        self.process.kill()
        self.thread.shutdown(wait=False)


class ParserProcess:
    """A child process that parses one report at a time. After a crash, the next report starts a new process."""

    def __init__(self) -> None:
        self._child: _ParserChild | None = None

    async def read(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
        """Run `read_upload` in the child. Raises ReportError if the child exceeds the timeout, and ParserCrashed."""
        self._child = self._child or _start()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                outcome = await self._child.call(files, limits)
        except TimeoutError:
            self.stop()
            raise malformed(f"the upload couldn't be parsed within {_TIMEOUT_S:.0f} s") from None
        except (ParserCrashed, asyncio.CancelledError):
            self.stop()
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Kill the child process, even if it is parsing a report."""
        if self._child is not None:
            self._child.stop()
            self._child = None


def _start() -> _ParserChild:
    context = get_context("spawn")
    pipe, pipe_of_child = context.Pipe()
    process = context.Process(target=_serve, args=(pipe_of_child,), daemon=True)
    process.start()
    pipe_of_child.close()  # so that the pipe ends when the child exits
    return _ParserChild(process, pipe, ThreadPoolExecutor(1, thread_name_prefix="parser"))


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
