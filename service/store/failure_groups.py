"""The minutes in which failure groups have results, and the cache of those that are stored already."""

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Final

from service.domain.ids import Fingerprint, OrgId
from service.store.postgres.database import Connection
from service.tracing.spans import copy_span

_COLUMNS: Final = ("org_id", "fingerprint", "minute")
_MAX_KNOWN: Final = 100_000  # fingerprints of all minutes, about 10 MB
_NONE: Final[Set[Fingerprint]] = frozenset()

Minute = tuple[OrgId, int]


class KnownMinutes:
    """A cache of committed rows: the fingerprints of each minute. It's cleared when it is full, and after an error.

    A row is deleted only if its month has expired and was dropped. Ingest rejects runs of such a month.
    """

    def __init__(self, max_known: int = _MAX_KNOWN) -> None:
        self._max_known = max_known
        self._size = 0
        self._known: dict[Minute, set[Fingerprint]] = {}

    @contextmanager
    def recording(self) -> Iterator["NewMinutes"]:
        """Return the rows of a transaction in the block, and add them to the cache after the block."""
        new = NewMinutes(self)
        try:
            yield new
        except BaseException:
            self._clear()
            raise
        self._add(new.inserted)

    def of(self, minute: Minute) -> Set[Fingerprint]:
        """Return the known fingerprints of a minute."""
        return self._known.get(minute, _NONE)

    def _add(self, new: Mapping[Minute, Set[Fingerprint]]) -> None:
        self._size += sum(map(len, new.values()))
        if self._size > self._max_known:
            self._clear()
        for minute, fingerprints in new.items():
            self._known.setdefault(minute, set()).update(fingerprints)

    def _clear(self) -> None:
        self._known, self._size = {}, 0


class NewMinutes:
    """The rows that one transaction inserts: those that are neither known nor inserted by this transaction already."""

    def __init__(self, known: KnownMinutes) -> None:
        self._known = known
        self.inserted: dict[Minute, set[Fingerprint]] = {}

    async def insert(self, connection: Connection, found: Iterable[tuple[Minute, set[Fingerprint]]]) -> None:
        """Insert the missing rows of these minutes.

        No key is unique: a transaction that inserts the same row as another one would wait for the end of the other.
        """
        missing: dict[Minute, set[Fingerprint]] = {}
        for minute, fingerprints in found:
            new = fingerprints - self._known.of(minute) - self.inserted.get(minute, _NONE)
            if new:
                missing.setdefault(minute, set()).update(new)
        if not missing:
            return
        rows = [(org_id, number, minute) for (org_id, minute), numbers in missing.items() for number in sorted(numbers)]
        with copy_span("failure_group_minutes"):
            await connection.copy_records_to_table("failure_group_minutes", records=rows, columns=_COLUMNS)
        for minute, numbers in missing.items():
            self.inserted.setdefault(minute, set()).update(numbers)
