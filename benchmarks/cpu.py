"""CPU times of processes. In contrast to the elapsed time, they hardly depend on other programs on the machine."""

from pathlib import Path

import asyncpg


def process_ns(process_id: int) -> int:
    """Return the CPU time of a process in ns, or 0 if it has ended or runs on another machine."""
    tasks = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


async def backends_ns(connection: asyncpg.Connection, *roles: str) -> int:
    """Return the CPU time in ns of the current PostgreSQL processes that serve connections with these roles."""
    statement = "SELECT pid FROM pg_stat_activity WHERE application_name = ANY($1::text[])"
    return sum(process_ns(row["pid"]) for row in await connection.fetch(statement, roles))
