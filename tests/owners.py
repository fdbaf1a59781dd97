"""Owners of stored cases, as ingest stores them: in `cases`, and one row per owner in `case_owners`."""

from collections.abc import Mapping, Sequence

import asyncpg


async def set_owners(pool: asyncpg.Pool, owners: Mapping[str, Sequence[str]]) -> None:
    """Replace the owners of the cases `c` that match each condition, in all organizations, in this order."""
    for where, names in owners.items():
        keys = await pool.fetch(
            f"UPDATE cases c SET owners = $1 WHERE {where} RETURNING c.org_id, c.case_key, c.project_id", list(names)
        )
        columns = list(zip(*keys, strict=True)) or [(), (), ()]
        await pool.execute(
            "DELETE FROM case_owners o USING unnest($1::int[], $2::bigint[]) AS changed (org_id, case_key)"
            " WHERE o.org_id = changed.org_id AND o.case_key = changed.case_key",
            *columns[:2],
        )
        await pool.execute(
            "INSERT INTO case_owners (org_id, case_key, project_id, owner) SELECT changed.*, owner"
            " FROM unnest($1::int[], $2::bigint[], $3::text[]) changed, unnest($4::text[]) owner",
            *columns, list(names),
        )  # fmt: skip
