"""The size of tables and indexes, and the memory of processes."""

from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

# The size of all partitions of a table, without (or with only) their indexes.
_SIZES: Final = """
SELECT root.relname AS name, sum(pg_table_size(tree.relid))::bigint AS heap,
       sum(pg_indexes_size(tree.relid))::bigint AS indexes
FROM pg_class root CROSS JOIN LATERAL (
    SELECT relid FROM pg_partition_tree(root.oid) WHERE isleaf UNION ALL SELECT root.oid WHERE root.relkind = 'r'
) tree
WHERE root.relname = ANY($1) GROUP BY root.relname
"""
_TABLES: Final = ("results", "result_details", "failure_group_minutes", "runs", "cases")


class StoreSize(NamedTuple):
    """Bytes per result of the tables and of their indexes."""

    results_heap: float
    results_index: float
    all_heaps: float
    all_indexes: float


async def measure_size(url: str, results: int) -> StoreSize:
    """Return the size of a database divided by its number of results."""
    connection = await asyncpg.connect(url)
    rows = {row["name"]: row for row in await connection.fetch(_SIZES, _TABLES)}
    await connection.close()
    facts = rows["results"]
    heaps, indexes = (sum(row[part] for row in rows.values()) for part in ("heap", "indexes"))
    return StoreSize(*(value / results for value in (facts["heap"], facts["indexes"], heaps, indexes)))


async def private_mib(url: str, *roles: str) -> float:
    """Return the largest private memory of the PostgreSQL processes that serve connections with these roles."""
    connection = await asyncpg.connect(url)
    statement = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = ANY($1::text[]) AND datname = current_database()"
    )
    found = [row["pid"] for row in await connection.fetch(statement, roles)]
    await connection.close()
    return max((memory_mib(process_id, "RssAnon") for process_id in found), default=0.0)


def memory_mib(process_id: int, field: str) -> float:
    """Return a field of the memory of a running process, such as VmHWM, its peak resident memory."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)
