"""Crash suspects: messages that might have crashed a consumer, with the number of attempts that didn't finish."""

from typing import Final

from service.store.postgres.database import Pool
from service.store.postgres.statements import statements

_SQL: Final = statements("crash_suspects")


class CrashSuspects:
    """The crash suspects of all queues. Each change is committed before the method returns."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count_attempt(self, queue: str, body_sha256: bytes) -> int:
        """Count an attempt that starts now. Return the number of attempts without a finish, including this one."""
        count: int = await self._pool.fetchval(_SQL["count_attempt"], queue, body_sha256)
        return count

    async def withdraw_attempt(self, queue: str, body_sha256: bytes) -> None:
        """Subtract an attempt that was interrupted without a crash."""
        await self._pool.execute(_SQL["withdraw_attempt"], queue, body_sha256)

    async def clear(self, queue: str, body_sha256: bytes) -> None:
        """Delete a suspect whose message is acknowledged."""
        await self._pool.execute(_SQL["clear"], queue, body_sha256)
