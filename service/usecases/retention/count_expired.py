"""The dry run of retention: the size of the data that the next rounds delete."""

from collections import defaultdict
from datetime import datetime
from typing import Final, NamedTuple

from service.domain.ids import RunKey
from service.domain.retention import RETENTION_CLASSES, RetentionClass, RetentionPolicy
from service.store import organizations, retention
from service.store.postgres.database import Connection
from service.store.retention import ProjectSize
from service.usecases.retention.clock import read_verified_clock
from service.usecases.retention.expired_data import ExpiredRows, find_expired_rows, list_expired_months

_MAX_RUNS: Final = 500  # counted per statement


class ExpiredSize(NamedTuple):
    """The expired data of one class in one project. `bytes` includes the files of artifacts."""

    data: RetentionClass
    organization: str
    project_id: str
    rows: int
    bytes: int


async def count_expired(connection: Connection, policy: RetentionPolicy) -> list[ExpiredSize]:
    """Return the size of all expired data, including months in the grace period. Raises ClocksDiffer."""
    now = await read_verified_clock(connection)
    slugs = {row["org_id"]: row["slug"] for row in await organizations.list_all(connection)}
    totals: defaultdict[tuple[RetentionClass, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for rows in await _find_all(connection, policy, now):
        for size in await _count(connection, rows):
            total = totals[rows.class_, slugs[rows.range.org_id], size.project_id]
            total[0] += size.rows
            total[1] += size.bytes
    order = {class_: position for position, class_ in enumerate(RETENTION_CLASSES)}
    keys = sorted(totals, key=lambda key: (order[key[0]], *key[1:]))
    return [ExpiredSize(*key, *totals[key]) for key in keys if totals[key][0]]


async def _find_all(connection: Connection, policy: RetentionPolicy, now: datetime) -> list[ExpiredRows]:
    return [
        rows
        for class_ in RETENTION_CLASSES
        for month in await list_expired_months(connection, policy, class_, now)
        for rows in (await find_expired_rows(connection, class_, month)).rows
    ]


async def _count(connection: Connection, rows: ExpiredRows) -> list[ProjectSize]:
    sizes: list[ProjectSize] = []
    range_ = rows.range
    reached: RunKey | None = range_.after
    while reached is not None:
        range_ = range_._replace(after=reached)
        found, reached = await retention.count_rows(connection, rows.class_, range_, _MAX_RUNS)
        sizes += found
    return sizes
