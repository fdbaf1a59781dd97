"""A record of the statements that the connections of this process execute."""

from typing import Any

import asyncpg
import pytest


def record_statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that contains every statement that any connection executes from now on, in order.

    A COPY is the name of its table.
    """
    executed: list[str] = []
    for name in ("execute", "executemany", "fetch", "fetchval", "fetchrow", "copy_to_table", "copy_records_to_table"):
        original = getattr(asyncpg.Connection, name)

        async def recorded(self: Any, query: str, *args: Any, call: Any = original, **kwargs: Any) -> Any:
            executed.append(query)
            return await call(self, query, *args, **kwargs)

        monkeypatch.setattr(asyncpg.Connection, name, recorded)
    return executed
