"""Statements about requested rows, which can be of several organizations."""

from collections.abc import Iterable, Sequence

from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, Row
from service.store.postgres.engines import RequestedRow, engine_of


async def fetch_requested(
    connection: Connection, name: str, requested: Iterable[RequestedRow], columns: Sequence[str], **values: object
) -> list[Row]:
    """Return the rows of the statement `name` for the requested rows, each an organization and other `columns`."""
    engine = engine_of(connection)
    statement = compose(name, **engine.requested_row)
    rows: list[Row] = []
    for part in engine.split(requested):
        org_ids, *others = zip(*part, strict=True)
        parameters = {"org_ids": org_ids, "org_id": org_ids[0], **dict(zip(columns, others, strict=True)), **values}
        rows += await statement.fetch_rows(connection, parameters)
    return rows
