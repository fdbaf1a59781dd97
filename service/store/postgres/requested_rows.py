"""Statements about requested rows, which can be of several organizations."""

from collections.abc import Iterable, Sequence

from service.domain.ids import OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, Row


async def fetch_requested(
    connection: Connection,
    name: str,
    requested: Iterable[tuple[OrgId, *tuple[object, ...]]],
    columns: Sequence[str],
    **values: object,
) -> list[Row]:
    """Return the rows of the statement `name` for the requested rows, each an organization and other `columns`."""
    rows = list(requested)
    if not rows:
        return []
    org_ids, *others = zip(*rows, strict=True)
    parameters = {"org_ids": org_ids, **dict(zip(columns, others, strict=True)), **values}
    return list(await compose(name).fetch_rows(connection, parameters))
