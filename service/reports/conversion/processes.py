"""Child processes that parse reports, so that a large or hostile report can't block or crash a worker."""

import asyncio
import os
import resource
import signal
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Final, NamedTuple

from service.reports.conversion.errors import ReportError
from service.reports.conversion.uploads import ReadUpload, ReportFile, read_upload
from service.reports.model import ReportLimits

_NICE: Final = 10


class ParserCrashed(ReportError):
    """The parser process exited while it parsed the upload.

    Its memory can be the cause: some libraries, such as orjson, crash instead of raising MemoryError.
    """

    def __init__(self, limits: ReportLimits) -> None:
        super().__init__(
            "malformed_report",
            "the parser process crashed while it parsed the upload. If the upload needs more than"
            f" {_mib(limits)} MiB of memory, split it into several uploads",
        )


class MemoryExceeded(ParserCrashed):
    """The parser process reached its limit of memory, or the system has none left."""

    def __init__(self, limits: ReportLimits) -> None:
        ReportError.__init__(
            self, "too_large",
            f"the upload needs more than {_mib(limits)} MiB of memory to be parsed. Split it into several uploads",
        )  # fmt: skip


def _mib(limits: ReportLimits) -> int:
    return limits.max_memory_bytes // 2**20


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
            raise ParserCrashed(limits) from None
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
        """Run `read_upload` in the child with the limit of memory. Raises ReportError, and ParserCrashed."""
        self._child = self._child or _start()
        try:
            outcome = await self._child.call(files, limits)
        except (ParserCrashed, asyncio.CancelledError):
            self.stop()
            raise
        if isinstance(outcome, MemoryError):
            self.stop()  # fragments of its memory would count for the next report
            raise MemoryExceeded(limits)
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
    """Return the converted upload, or its error. The memory of the process is limited until the next upload."""
    _limit_memory(limits.max_memory_bytes)
    try:
        return read_upload(files, limits)
    except MemoryError:
        return MemoryError()  # without the traceback, which would keep the memory of the parser in use
    except Exception as error:
        error.add_note("".join(traceback.format_tb(error.__traceback__)))  # a pickled error has no traceback
        return error


def _limit_memory(size: int) -> None:
    """Let allocations fail that would increase the memory of this process above `size` bytes.

    RLIMIT_DATA counts the heap and private memory, but no libraries or files, in contrast to RLIMIT_AS.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
