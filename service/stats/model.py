"""The statistics about runs: the buckets, which are in UTC, and the range of a request. All times are ms since 1970."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from service.domain.errors import InvalidRequest
from service.domain.statuses import Counts

Interval = Literal["hour", "day", "week"]
RunGrouping = Literal["branch", "environment"]
Grouping = Literal[RunGrouping, "owner"]

MAX_BUCKETS: Final = 400
MAX_GROUPS: Final = 20
MAX_RUNS: Final = 20_000  # that one request reads
DEFAULT_BUCKETS: Final = 30

_HOUR_MS: Final = 3_600_000
LENGTHS_MS: Final[Mapping[Interval, int]] = {"hour": _HOUR_MS, "day": 24 * _HOUR_MS, "week": 7 * 24 * _HOUR_MS}
FIRST_MONDAY_MS: Final = -62_135_596_800_000  # 0001-01-01T00:00:00Z, the earliest time of a request


class StatsRange(NamedTuple):
    """The requested completion times: from `from_ms` (inclusive) to `to_ms` (exclusive)."""

    from_ms: int
    to_ms: int


def bucket_start(time_ms: int, interval: Interval) -> int:
    """Return the start of the bucket that contains a time. A week starts on Monday."""
    return time_ms - (time_ms - FIRST_MONDAY_MS) % LENGTHS_MS[interval]


def choose_range(from_ms: int | None, to_ms: int | None, interval: Interval, now_ms: int) -> StatsRange:
    """Return the range of a request.

    The default of `to` is the end of the current bucket. The default of `from` is the start of the last 30 buckets
    before `to`. Raises InvalidRequest if the range is empty or has more than 400 buckets.
    """
    length_ms = LENGTHS_MS[interval]
    end = bucket_start(now_ms, interval) + length_ms if to_ms is None else to_ms
    last_bucket = bucket_start(end - 1, interval)
    start = max(FIRST_MONDAY_MS, last_bucket - (DEFAULT_BUCKETS - 1) * length_ms) if from_ms is None else from_ms
    if start >= end:
        raise InvalidRequest("from: must be before to", "from")
    buckets = (last_bucket - bucket_start(start, interval)) // length_ms + 1
    if buckets > MAX_BUCKETS:
        message = f"interval: the range has {buckets} buckets, at most {MAX_BUCKETS} are allowed"
        raise InvalidRequest(f"{message}. Use a longer interval or a shorter range.", "interval")
    return StatsRange(start, end)


def pass_rate(counts: Counts) -> float | None:
    """Return the share of the executed results that passed, or None if no result was executed."""
    executed = counts.passed + counts.failed + counts.error
    return counts.passed / executed if executed else None


class StatsBucketRow(NamedTuple):
    """The runs of one group that completed in one interval. `counts` are sums over these runs.

    `group` is a name, or None if the runs aren't grouped, or for the groups with the fewest runs together.
    """

    start_ms: int
    group: str | None
    runs: int
    failed_runs: int | None  # None for owners
    counts: Counts
    pass_rate: float | None
    duration_p50_ms: int | None
    duration_p95_ms: int | None
