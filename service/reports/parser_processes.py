"""Child processes that read reports, so that neither a large nor a hostile one stops or takes down a worker."""

import asyncio
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Final

from service.domain.reports import Encoding
from service.reports.errors import malformed
from service.reports.uploads import ReadUpload, read_upload

_TIMEOUT_S: Final = 900.0


class ParserProcess:
    """One child, for one report at a time; a dead one is replaced before the next."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def read(
        self, source: Path, target: Path, content_type: str | None, encoding: Encoding | None, max_bytes: int
    ) -> ReadUpload:
        """As `read_upload`. A child that dies over the report, or does not end, is a ReportError too."""
        self._pool = self._pool or _new_pool()
        work = self._pool.submit(read_upload, source, target, content_type, encoding, max_bytes)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), _TIMEOUT_S)
        except BrokenProcessPool:
            self.end()
            raise malformed("the process that read the report died over it") from None
        except TimeoutError:
            self.end()
            raise malformed(f"the report could not be read within {_TIMEOUT_S:.0f} s") from None
        except asyncio.CancelledError:
            self.end()
            raise

    def end(self) -> None:
        """Ends the child, whatever it is doing."""
        if self._pool is None:
            return
        for child in list(self._pool._processes.values()):
            child.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None


def _new_pool() -> ProcessPoolExecutor:
    # Python's tracker of semaphores outlives a worker that is killed, frees them, and warns of what is no fault.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    return ProcessPoolExecutor(1, get_context("spawn"), _prepare)


def _prepare() -> None:
    """A terminal's Ctrl-C is for the parent; without a parent there is nobody to read for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
