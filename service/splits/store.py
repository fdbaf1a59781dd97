"""Plans of splits, and the durations of items."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import orjson
import zstandard

from service.database.database import Connection, Row
from service.database.statements import statements
from service.domain.ids import OrgId
from service.splits.contract import Split, SplitIn

_SQL: Final = statements("splits")
_LEVEL: Final = 1  # of zstd


class SplitRef(NamedTuple):
    """What identifies a split. An empty pipeline or run is none. In a search, None is any of them."""

    org_id: OrgId
    project_id: str
    key: str
    pipeline: str | None
    run_id: str | None


def write_document(fields: Mapping[str, Any]) -> bytes:
    """Return compressed JSON."""
    return zstandard.compress(orjson.dumps(fields), _LEVEL)


def read_document(document: bytes) -> dict[str, Any]:
    """Return the fields of compressed JSON. A large one takes 100 ms, so call this in another thread."""
    fields: dict[str, Any] = orjson.loads(zstandard.decompress(document))
    return fields


def read_split(row: Row) -> Split:
    """Return the split of a row. Like `read_document`, it needs another thread."""
    return cast("Split", orjson.loads(row["fields"]) | read_document(row["document"]))


async def lock(connection: Connection, ref: SplitRef) -> None:
    """Lock a split, which needn't exist, until the transaction ends."""
    await connection.execute(_SQL["lock"], *ref)


async def find(connection: Connection, ref: SplitRef) -> Row | None:
    """Return the row of the newest split, with its digest, or None."""
    return await connection.fetchrow(_SQL["find"], *ref)


async def insert(connection: Connection, ref: SplitRef, plan: bytes, digest: bytes, created_by: str) -> None:
    """Insert a split, unless its pipeline or run has the maximum number. `plan` is a document. Requires the lock."""
    await connection.execute(_SQL["insert"], *ref, plan, digest, created_by)


async def find_durations(connection: Connection, ref: SplitRef, split: SplitIn, names: Sequence[str]) -> dict[str, int]:
    """Return the 75th percentile of each known item in ms. `names` are the names of the items in results."""
    values = ref.org_id, ref.project_id, split.unit, split.variant, names
    return {split.items[row[0] - 1]: int(row[1]) for row in await connection.fetch(_SQL["find_durations"], *values)}


async def delete(
    connection: Connection, before: datetime, limit: int, project: tuple[OrgId, str] | tuple[None, None] = (None, None)
) -> int:
    """Delete at most `limit` splits and assignments that were created before this time, of a project or of all."""
    return int(await connection.fetchval(_SQL["delete"], before, limit, *project))
