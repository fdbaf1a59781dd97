"""Crash suspects: messages that might have crashed a consumer, with the processes that attempted to handle them."""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

from service.store.postgres.database import DRIVER_ERRORS, Pool
from service.store.postgres.statements import statements

_SQL: Final = statements("crash_suspects")
_WITHDRAW_TIMEOUT_S: Final = 3.0  # shorter than the time after which a canceled task is canceled again


class CrashSuspects:
    """The crash suspects of all queues, as one process sees them. Create one per process.

    An attempt counts until its process withdraws it. A process withdraws every attempt that it survives, so only those
    whose process has ended count. An attempt that can't be withdrawn during an outage is withdrawn afterwards.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._process = uuid4().hex
        self._interrupted: set[tuple[str, bytes]] = set()  # attempts that the database still counts

    async def start_attempt(self, queue: str, body_sha256: bytes) -> int:
        """Record an attempt before it starts. Return the number of processes with an attempt, including this one."""
        self._interrupted.discard((queue, body_sha256))
        count: int = await self._pool.fetchval(_SQL["start_attempt"], queue, body_sha256, self._process)
        return count

    async def withdraw(self, queue: str, body_sha256: bytes) -> None:
        """Withdraw an attempt that ended without the end of the process, now or later."""
        self._interrupted.add((queue, body_sha256))
        with suppress(OSError, *DRIVER_ERRORS):
            async with asyncio.timeout(_WITHDRAW_TIMEOUT_S):
                await self.withdraw_interrupted()

    async def withdraw_interrupted(self) -> None:
        """Withdraw the attempts that `withdraw` couldn't. Call it before the process receives further messages."""
        for queue, body_sha256 in tuple(self._interrupted):
            await self._pool.execute(_SQL["withdraw_attempt"], queue, body_sha256, self._process)
            self._interrupted.discard((queue, body_sha256))

    async def clear(self, queue: str, body_sha256: bytes) -> None:
        """Delete a suspect whose message is acknowledged."""
        await self._pool.execute(_SQL["clear"], queue, body_sha256)
