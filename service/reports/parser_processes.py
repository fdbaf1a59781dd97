"""Child processes that parse reports, so that a large or hostile report can't block or crash a worker."""

import asyncio
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Final

from service.domain.reports import ReportLimits
from service.reports.errors import malformed
from service.reports.uploads import ReadUpload, ReportFile, read_upload

_TIMEOUT_S: Final = 900.0
_NICE: Final = 10


class ParserProcess:
    """A child process that parses one report at a time. After a crash, the next report starts a new process."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def read(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
        """Run `read_upload` in the child. Raises ReportError also if the child crashes or exceeds the timeout."""
        self._pool = self._pool or _new_pool()
        work = self._pool.submit(read_upload, files, limits)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), _TIMEOUT_S)
        except BrokenProcessPool:
            self.stop()
            raise malformed("the parser process crashed while it parsed the upload") from None
        except TimeoutError:
            self.stop()
            raise malformed(f"the upload couldn't be parsed within {_TIMEOUT_S:.0f} s") from None
        except asyncio.CancelledError:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the child process, even if it is parsing a report."""
        if self._pool is None:
            return
        for child in list(self._pool._processes.values()):
            child.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None


def _new_pool() -> ProcessPoolExecutor:
    # Python's resource tracker outlives a killed worker, frees its semaphores, and would log a misleading warning.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    return ProcessPoolExecutor(1, get_context("spawn"), _initialize)


def _initialize() -> None:
    """Ignore SIGINT, because Ctrl-C in a terminal is for the parent, and exit together with the parent.

    A large report has a lower priority than requests and events, which take milliseconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
