"""Keeps a claim while its holder works: others take over what nobody prolongs, whatever the holder still believes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from service.log import log


class ClaimLost(Exception):
    """Somebody else does the work by now, or nobody is to do it any more."""


@contextlib.asynccontextmanager
async def keeping(beat: Callable[[], Awaitable[bool]], every_s: float) -> AsyncIterator[None]:
    """Beats while the block runs; each beat prolongs the lease, which has to be longer than many of them.

    Where a beat says that the claim is lost, the block is canceled and ends with ClaimLost.
    """
    lost = False

    def lose() -> None:
        nonlocal lost
        lost = True
        if block is not None:
            block.cancel()

    block = asyncio.current_task()
    beating = asyncio.create_task(_beat(beat, every_s, lose))
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            raise ClaimLost from None
        raise
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _beat(beat: Callable[[], Awaitable[bool]], every_s: float, lose: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            if not await beat():
                return lose()
        except Exception as error:
            log.warning("beat_failed", error=repr(error))
