"""What someone who follows events wants to see of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

FIRST: Final = 0  # before every place in the stream
LAST: Final = 2**63 - 1  # behind every place in the stream


class NumberedEvent(NamedTuple):
    """An event with its place in the stream; `data` is the JSON of its object."""

    number: int
    event_id: str
    type: str
    project_id: str | None
    run_id: str | None
    created_at: datetime
    data: str


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Narrows events down; what is empty or None narrows nothing."""

    types: tuple[str, ...] = ()
    run_id: str | None = None
    project_id: str | None = None

    def admits(self, event: NumberedEvent) -> bool:
        """Whether the event is wanted. The statements in events.sql judge alike."""
        return (
            (not self.types or event.type in self.types)
            and self.run_id in (None, event.run_id)
            and self.project_id in (None, event.project_id)
        )
