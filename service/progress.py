"""The progress of the current task, which a watchdog can observe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_observer: ContextVar[Callable[[], object]] = ContextVar("observer_of_progress", default=lambda: None)


@contextmanager
def observing_progress(observer: Callable[[], object]) -> Iterator[None]:
    """Call the observer for each progress in the block, also in tasks that the block starts."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def report_progress() -> None:
    """Call the observer of the current task, if it has one, because its work continues."""
    _observer.get()()
