"""The event stream of an organization: numbered events, and the filter of a reader."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from service.domain.events import INTERNAL_TYPES

BEFORE_FIRST: Final = 0  # less than every event number
AFTER_LAST: Final = 2**63 - 1  # greater than every event number


class NumberedEvent(NamedTuple):
    """An event with its event number. `data` is the JSON of its `data.object`."""

    number: int
    event_id: str
    type: str
    project_id: str | None
    run_id: str | None
    created_at: datetime
    data: str


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
