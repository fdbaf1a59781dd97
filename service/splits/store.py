"""Plans of splits, and the durations of items."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

import orjson
import zstandard

from service.database.database import Connection, Row
from service.database.statements import statements
from service.domain.ids import OrgId
from service.splits.contract import Split
from service.splits.model import SplitUnit

_SQL: Final = statements("splits")
_LEVEL: Final = 1  # of zstd


class SplitRef(NamedTuple):
    """What identifies a split. An empty pipeline or run is none. In a search, None is any of them."""

    org_id: OrgId
    project_id: str
    key: str
    pipeline: str | None
    run_id: str | None


def read_split(row: Row) -> Split:
    """Return the split of a row. This takes up to 100 ms, so call it in another thread."""
    return cast("Split", orjson.loads(row["fields"]) | orjson.loads(zstandard.decompress(row["document"])))


def compress(plan: Mapping[str, object]) -> bytes:
    """Return the stored document of a plan: the fields of a split that aren't columns."""
    return zstandard.compress(orjson.dumps(plan), _LEVEL)


async def lock(connection: Connection, ref: SplitRef) -> None:
    """Lock a split until the transaction ends. It needn't exist."""
    await connection.execute(_SQL["lock"], *ref)


async def find(connection: Connection, ref: SplitRef) -> Row | None:
    """Return the row of the newest split, with its digest, or None."""
    return await connection.fetchrow(_SQL["find"], *ref)


async def insert(connection: Connection, ref: SplitRef, document: bytes, digest: bytes, created_by: str) -> bool:
    """Insert a split. Return False if its pipeline or run has the maximum number. Requires the lock."""
    return await connection.fetchval(_SQL["insert"], *ref, document, digest, created_by) is True


async def find_durations(
    connection: Connection, ref: SplitRef, unit: SplitUnit, variant: Mapping[str, str], names: Sequence[str]
) -> dict[int, int]:
    """Return the 75th percentile in ms by the position of an item, from 1. `names` are those in results."""
    values = ref.org_id, ref.project_id, unit, variant, names
    return {row[0]: int(row[1]) for row in await connection.fetch(_SQL["find_durations"], *values)}
