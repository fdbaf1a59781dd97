"""The check of whether the server has the engine of the setting."""

from typing import Final

import asyncpg

from service.store.postgres.engines import DISTRIBUTED_TABLES, Engine
from service.store.postgres.statements import statements

_SQL: Final = statements("citus/distribution")


class EngineMismatch(ConnectionError):
    """The server doesn't have the engine of the setting. Don't execute statements, because they might find no rows."""


class TablesNotDistributed(EngineMismatch):
    """The server has the engine, and `schema distribute` hasn't distributed its tables yet."""


async def check_engine(connection: asyncpg.Connection, engine: Engine, *, has_citus: bool) -> None:
    """Raise EngineMismatch if the connection is to a server with another engine."""
    if not has_citus:
        if engine.is_distributed:
            raise EngineMismatch(f"is {engine.name}, and the database doesn't have the extension citus")
        return
    rows = await connection.fetch(_SQL["find_tables"], DISTRIBUTED_TABLES)
    tables = {row["name"]: row["is_distributed"] for row in rows}
    if any(tables.values()) and not engine.is_distributed:
        raise EngineMismatch(f"is {engine.name}, and the tables of the database are distributed by Citus")
    if engine.is_distributed and not all(tables.values()):
        missing = ", ".join(sorted(name for name, is_distributed in tables.items() if not is_distributed))
        raise TablesNotDistributed(f"is {engine.name}, and these tables aren't distributed: {missing}")
