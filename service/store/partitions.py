"""Monthly partitions: ingest makes a missing month, once."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

from service.store.database import Connection
from service.store.statements import statements

_SQL: Final = statements("partitions")


class KnownMonths:
    """The months whose partitions exist for sure."""

    def __init__(self) -> None:
        self._months: set[date] = set()

    async def ensure(self, connection: Connection, completed_ms: Iterable[int]) -> None:
        """Makes the months of these completions (ms since 1970). Call it outside of a transaction."""
        months = {_month(ms) for ms in completed_ms} - self._months
        for month in sorted(months):
            await connection.execute(_SQL["make_month"], month)
            self._months.add(month)


def _month(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, UTC).date().replace(day=1)
