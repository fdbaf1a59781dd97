"""The minutes in which failure groups have results, and the cache of the stored minutes."""

from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from typing import Final

from service.database.database import Connection
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import Fingerprint, OrgId
from service.tracing.spans import copy_span

_COLUMNS: Final = ("org_id", "fingerprint", "minute")
_NONE: Final[Set[Fingerprint]] = frozenset()

Minute = tuple[OrgId, int]


# A cache of committed rows. A row is deleted only if its month has expired, and ingest rejects runs of such a month.
KnownMinutes = BoundedCache[tuple[OrgId, int, Fingerprint], bool]


class NewMinutes:
    """The rows that one transaction inserts: rows that are neither known nor inserted by this transaction already."""

    def __init__(self, known: KnownMinutes) -> None:
        self._known = known
        self._inserted: dict[Minute, set[Fingerprint]] = {}

    async def insert(self, connection: Connection, found: Iterable[tuple[Minute, set[Fingerprint]]]) -> None:
        """Insert the missing rows of these minutes.

        No key is unique: a transaction that inserts the same row as another one would wait for the end of the other.
        """
        missing: dict[Minute, set[Fingerprint]] = {}
        for minute, fingerprints in found:
            unseen = fingerprints - self._inserted.get(minute, _NONE)
            new = {number for number in unseen if not self._known.get((*minute, number))}
            if new:
                missing.setdefault(minute, set()).update(new)
        if not missing:
            return
        rows = [(org_id, number, minute) for (org_id, minute), numbers in missing.items() for number in sorted(numbers)]
        with copy_span("failure_group_minutes"):
            await connection.copy_records_to_table("failure_group_minutes", records=rows, columns=_COLUMNS)
        for minute, numbers in missing.items():
            self._inserted.setdefault(minute, set()).update(numbers)

    def add_committed(self) -> None:
        """Add the rows to the cache. Call this only after they are committed."""
        for minute, numbers in self._inserted.items():
            for number in numbers:
                self._known.add((*minute, number), True)


class NoMinutes(NewMinutes):
    """Inserts no rows: an untrusted run has no failure groups."""

    def __init__(self) -> None:
        super().__init__(BoundedCache(0))

    async def insert(self, connection: Connection, found: Iterable[tuple[Minute, set[Fingerprint]]]) -> None:
        """Insert nothing."""


@contextmanager
def recording_minutes(known: KnownMinutes) -> Iterator[NewMinutes]:
    """Return the rows of a transaction in the block, and add them to the cache after the block.

    After an error, clear the cache: it can contain rows of a month that was dropped.
    """
    new = NewMinutes(known)
    try:
        yield new
    except BaseException:
        known.clear()
        raise
    new.add_committed()
