"""A lease is renewed until the work ends or the lease is lost."""

import asyncio
import contextlib

import pytest

from service.stopping import raise_if_canceled
from service.tasks.leases import LeaseLost, renewing_lease

EVERY_S = 0.01


async def test_lost_lease_cancels_the_work() -> None:
    renewals = iter([True, True, False])

    async def renew() -> bool:
        return next(renewals)

    with pytest.raises(LeaseLost):
        async with renewing_lease(renew, EVERY_S):
            await asyncio.sleep(60)
    assert list(renewals) == []


async def lose_lease() -> bool:
    return False


async def test_lost_lease_leaves_no_cancellation_in_the_task_of_the_worker() -> None:
    """Otherwise, the next error that the worker handles would end it."""
    with pytest.raises(LeaseLost):
        async with renewing_lease(lose_lease, EVERY_S):
            await asyncio.sleep(60)
    raise_if_canceled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(EVERY_S):
            await asyncio.sleep(60)


async def test_lost_lease_leaves_no_cancellation_if_the_cleanup_of_the_work_fails() -> None:
    async def work() -> None:
        async with renewing_lease(lose_lease, EVERY_S):
            try:
                await asyncio.sleep(60)
            finally:
                raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await work()
    raise_if_canceled()


async def test_cancellation_of_the_worker_together_with_a_lost_lease_ends_the_worker() -> None:
    async def work() -> None:
        async with renewing_lease(lose_lease, EVERY_S):
            try:
                await asyncio.sleep(60)
            finally:
                working.cancel()

    working = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_lease_that_is_lost_after_the_work_does_not_cancel_the_worker() -> None:
    """The work can delete its job itself, while a renewal is in progress."""
    renewing = asyncio.Event()

    async def renew() -> bool:
        renewing.set()
        with contextlib.suppress(asyncio.CancelledError):  # like a driver that loses a cancellation
            await asyncio.sleep(60)
        return False

    async with renewing_lease(renew, EVERY_S):
        await renewing.wait()
    raise_if_canceled()


async def test_failed_renewal_is_followed_by_another() -> None:
    called = asyncio.Event()

    async def renew() -> bool:
        if called.is_set():
            return True
        called.set()
        raise ConnectionResetError

    async with renewing_lease(renew, EVERY_S):
        await asyncio.wait_for(called.wait(), 5)
        called.clear()
        await asyncio.wait_for(called.wait(), 5)


async def test_lease_is_not_renewed_after_the_work() -> None:
    renewals = 0

    async def renew() -> bool:
        nonlocal renewals
        renewals += 1
        return True

    async with renewing_lease(renew, EVERY_S):
        pass
    await asyncio.sleep(5 * EVERY_S)
    assert renewals == 0


async def test_cancellation_of_the_worker_is_not_a_lost_lease() -> None:
    async def renew() -> bool:
        return True

    async def work() -> None:
        async with renewing_lease(renew, EVERY_S):
            await asyncio.sleep(60)

    working = asyncio.create_task(work())
    await asyncio.sleep(5 * EVERY_S)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_renewal_that_loses_its_cancellation_ends_with_the_work() -> None:
    renewing, lost = asyncio.Event(), False

    async def renew() -> bool:
        nonlocal lost
        renewing.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if lost:
                raise
            lost = True
            raise ConnectionResetError("the cleanup of the driver failed") from None
        return True

    async with asyncio.timeout(10), renewing_lease(renew, EVERY_S):
        await renewing.wait()
    assert lost
