"""The state of a run apart from its results, and the rules that merge the states of several events."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

from service.domain.statuses import RUN_STATUSES, SEVERITY, STATUS_CODES, STATUS_NAMES, Counts

# A status from one of several shards applies only to that shard, so it has no event time: the worst status of the
# shards and of the results is used until an event without shards states one.
SHARD_STATUS_EVENT_S: Final = -(2**62)

FieldVersions = dict[str, tuple[int, Any]]  # field -> (time of the event that set it, value)


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run after one or more events. Times are in ms since 1970; event times are in s."""

    run_id: str
    project_id: str
    completed_ms: int
    last_completed_ms: int
    started_ms: int | None
    field_versions: FieldVersions = field(default_factory=dict)
    stated_status: str | None = None
    status_event_s: int = SHARD_STATUS_EVENT_S
    expected_results: int | None = None
    expected_shards: int | None = None
    shards: frozenset[str] = frozenset()
    complete: bool = False


def merge(known: RunState, new: RunState) -> RunState:
    """Merge two states of a run. The order doesn't matter, except that `completed_ms` is that of `known`."""
    stated = max(known, new, key=_status_precedence)
    return replace(
        known,
        last_completed_ms=max(known.last_completed_ms, new.last_completed_ms),
        started_ms=_minimum(known.started_ms, new.started_ms),
        field_versions=_merge_fields(known.field_versions, new.field_versions),
        stated_status=stated.stated_status,
        status_event_s=stated.status_event_s,
        expected_results=_greatest(known.expected_results, new.expected_results),
        expected_shards=_greatest(known.expected_shards, new.expected_shards),
        shards=known.shards | new.shards,
        complete=known.complete or new.complete,
    )


def is_complete(state: RunState, counts: Counts) -> bool:
    """Return whether the run is complete: it was completed before, or all expected results and shards arrived."""
    if state.complete:
        return True
    expects_more = state.expected_results is not None or state.expected_shards is not None
    has_results = state.expected_results is None or counts.total >= state.expected_results
    has_shards = state.expected_shards is None or len(state.shards) >= state.expected_shards
    return expects_more and has_results and has_shards


def run_status(state: RunState, counts: Counts) -> str:
    """Return the status code of a run: the producer's status, or else error > failed > canceled > passed."""
    by_results = _status_by_results(counts)
    if state.stated_status is None:
        return by_results
    if state.status_event_s == SHARD_STATUS_EVENT_S:
        return max(state.stated_status, by_results, key=_severity)
    return state.stated_status


def duration_ms(state: RunState) -> int | None:
    """Return the time from the first start to the last completion, or None if no event states a start."""
    return None if state.started_ms is None else max(0, state.last_completed_ms - state.started_ms)


def _status_by_results(counts: Counts) -> str:
    present = [status for status in RUN_STATUSES if getattr(counts, status)]
    return STATUS_CODES[max(present, key=SEVERITY.__getitem__, default="passed")]


def _merge_fields(known: FieldVersions, new: FieldVersions) -> FieldVersions:
    merged = dict(known)
    for name, version in new.items():
        merged[name] = max(merged.get(name, version), version, key=lambda pair: (pair[0], str(pair[1])))
    return merged


def _status_precedence(state: RunState) -> tuple[int, int]:
    return state.status_event_s, _severity(state.stated_status)


def _severity(code: str | None) -> int:
    return SEVERITY[STATUS_NAMES[code]] if code else 0


def _minimum(first: int | None, second: int | None) -> int | None:
    return min((value for value in (first, second) if value is not None), default=None)


def _greatest(first: int | None, second: int | None) -> int | None:
    return max((value for value in (first, second) if value is not None), default=None)
