"""Rows of trusted publishers. Deleted ones stay, because the audit trail names them."""

from typing import Final

import orjson

from service.domain.ids import OrgId
from service.domain.publishers import Publisher
from service.store.postgres.database import OutagesAsUnavailable, Pool
from service.store.postgres.statements import statements

_SQL: Final = statements("publishers")


async def find_by_issuer(pool: Pool, issuer: str) -> list[Publisher]:
    """Return the enabled publishers of an issuer, of all organizations."""
    async with OutagesAsUnavailable():
        rows = await pool.fetch(_SQL["find_by_issuer"], issuer)
    return [
        Publisher(
            OrgId(row["org_id"]), row["slug"], row["publisher_id"], row["provider"], orjson.loads(row["claims"]),
            row["project_id"], row["role"],
        )
        for row in rows
    ]  # fmt: skip
