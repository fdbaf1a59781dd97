"""The event stream of an organization: numbered events, positions, and the filter of a reader."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Self

from service.events.model import INTERNAL_TYPES

BEFORE_FIRST: Final = 0  # less than every event number
AFTER_LAST: Final = 2**63 - 1  # greater than every event number
_POSITION: Final = re.compile(r"(?:(evt_[0-9a-f]{32})(?:_(\d{1,19}))?|(\d{1,19}))", re.ASCII)


class NumberedEvent(NamedTuple):
    """An event with its event number. `data` is the JSON of its `data.object`."""

    number: int
    event_id: str
    type: str
    project_id: str | None
    run_id: str | None
    created_at: datetime
    data: str


class StreamPosition(NamedTuple):
    """A position in the event stream, after an event: its ID, its number, or both.

    After a failover or a restore, other events can get the numbers of lost events, but an ID never returns. With the
    number, a position stays valid after the event is deleted, until a following event is deleted.
    """

    event_id: str | None
    number: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position, or None if the text isn't one."""
        match = _POSITION.fullmatch(text)
        if match is None:
            return None
        number = match[2] or match[3]
        return cls(match[1], None if number is None else int(number))

    def __str__(self) -> str:
        return "_".join(str(part) for part in self if part is not None)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter for events. An empty or None field doesn't restrict the events."""

    types: tuple[str, ...] = ()
    run_id: str | None = None
    project_id: str | None = None

    def matches(self, event: NumberedEvent) -> bool:
        """Return whether the event passes the filter. The statements in events.sql use the same conditions."""
        return (
            event.type not in INTERNAL_TYPES
            and (not self.types or event.type in self.types)
            and self.run_id in (None, event.run_id)
            and self.project_id in (None, event.project_id)
        )
