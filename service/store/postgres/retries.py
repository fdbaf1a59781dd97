"""Retries of database work: which errors are temporary, and how often a transaction is attempted."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from service.retries import with_retries
from service.store.postgres import sqlstates
from service.store.postgres.database import is_conflict, is_lock_timeout, is_outage

T = TypeVar("T")

_CONFLICT_DELAYS_S: Final = (0.05, 0.1, 0.15, 0.2)


def is_temporary(error: BaseException) -> bool:
    """Return whether the same work can succeed later: after an outage, or after another transaction has ended."""
    return is_outage(error) or is_conflict(error)


def is_missing_right(error: BaseException) -> bool:
    """Return whether the login or its role lacks a permission, which an operator must grant."""
    return getattr(error, "sqlstate", None) == sqlstates.MISSING_RIGHT


def _is_short_conflict(error: BaseException) -> bool:
    return is_conflict(error) and not is_lock_timeout(error)


async def retry_on_conflict(
    work: Callable[[], Awaitable[T]], on_retry: Callable[[Exception, float], object] = lambda _error, _delay_s: None
) -> T:
    """Run a transaction again after a conflict with another one, at most 5 attempts. Raises the last error.

    Raises a lock timeout immediately, because the transaction has waited for the lock already.
    """
    return await with_retries(work, _is_short_conflict, _CONFLICT_DELAYS_S, on_retry=on_retry)
