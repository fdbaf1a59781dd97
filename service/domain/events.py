"""Events: the facts that others are told, and which of them a change makes."""

from typing import Final, Literal, NamedTuple, get_args

from service.domain.ids import OrgId

EventType = Literal[
    "run.completed", "run.updated", "run.failed", "export.completed", "export.failed", "webhook.disabled"
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
TEST: Final = "webhook.test"  # goes to the one webhook that is tried, whatever that has asked for

RETENTION_DAYS: Final = 30
MAX_OBJECT_BYTES: Final = 19_000  # what stands in `data.object`, so that a whole envelope stays below 20 kB


class NewEvent(NamedTuple):
    """An event that is not stored yet; `data` is the JSON of its `data.object`."""

    org_id: OrgId
    event_id: str
    type: str
    project_id: str | None
    run_id: str | None
    data: str


def run_event_types(status: str, *, completed: bool) -> tuple[EventType, ...]:
    """What a change of a run is told as. `completed` is true once in the life of a run."""
    if not completed:
        return ("run.updated",)
    return ("run.completed", "run.failed") if status in ("failed", "error") else ("run.completed",)
