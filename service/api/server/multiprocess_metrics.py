"""Counts of several processes as one: each writes a file of its own, and whoever is asked adds all of them up."""

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

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks for it
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a full disk would end whoever counts in a file on it


@contextmanager
def counting_together() -> Iterator[None]:
    """Has the children that are forked in this block count together, by names that no two have at a time.

    One that takes over the name of a dead one counts on where that ended, so that no count goes back. What counts has
    labels: without them it would have begun to count, alone, when it was made.
    """
    memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="zof-results-counts-", dir=memory) as folder:
        os.environ[_FOLDER] = folder
        values.ValueClass = values.MultiProcessValue(lambda: multiprocessing.current_process().name)
        yield


def delete_where_orphaned() -> None:
    """At the end of a child: deletes the files that a killed parent has left."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)


def all_counts() -> Collector:
    """What this process has counted, or all together have."""
    return MultiProcessCollector(None) if _FOLDER in os.environ else REGISTRY
