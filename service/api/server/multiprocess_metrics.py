"""Metrics of several API processes: each process writes its own files, and a scrape sums the files of all processes."""

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from prometheus_client import REGISTRY, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a full disk would crash a process that updates its file there


@contextmanager
def multiprocess_metrics() -> Iterator[None]:
    """Make the processes that are forked in this block share their metrics, under unique process names.

    A process that replaces an exited process has the same name and continues its counters, so that no counter
    decreases. Every metric must have labels, because a metric without labels opens its file when it is created, which
    is before this block.
    """
    memory = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="zof-results-counts-", dir=memory) as directory:
        os.environ[_DIRECTORY_VARIABLE] = directory
        values.ValueClass = values.MultiProcessValue(lambda: multiprocessing.current_process().name)
        yield


def delete_metrics_if_orphaned() -> None:
    """Delete the files at the end of a child process if its parent was killed and couldn't delete them."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        shutil.rmtree(os.environ[_DIRECTORY_VARIABLE], ignore_errors=True)


def all_metrics() -> Collector:
    """Return the collector of all processes, or that of this process if it's the only one."""
    return MultiProcessCollector(None) if _DIRECTORY_VARIABLE in os.environ else REGISTRY
