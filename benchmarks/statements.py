"""The statements that a read function executes, and EXPLAIN of them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import orjson

from service.database.database import Connection

Read = Callable[[Connection], Awaitable[object]]


class ExecutedStatement(NamedTuple):
    """The text of a statement with the arguments of one execution."""

    text: str
    arguments: Sequence[Any]


async def record(connection: Connection, read: Read) -> list[ExecutedStatement]:
    """Return the statements that a call of a read function executes, in their order."""
    executed: list[ExecutedStatement] = []
    await read(connection)  # in its first call, the driver might also look up types
    with connection.query_logger(lambda query: executed.append(ExecutedStatement(query.query, list(query.args)))):
        await read(connection)
        await asyncio.sleep(0)  # the driver calls the logger in the next cycle of the event loop
    return executed


async def explain(
    connection: Connection, executed: ExecutedStatement, options: str, times: int = 1
) -> list[dict[str, Any]]:
    """Prepare the statement, and return what EXPLAIN with these options returns in each of several executions."""
    literals = ", ".join(map(_literal, executed.arguments))
    command = f"EXPLAIN ({options}, FORMAT JSON) EXECUTE measured" + (f" ({literals})" if literals else "")
    await connection.execute(f"PREPARE measured AS {executed.text}")
    explained = [orjson.loads(await connection.fetchval(command))[0] for _ in range(times)]
    await connection.execute("DEALLOCATE measured")
    return explained


def _literal(value: Any) -> str:
    """Return a value as a literal for EXECUTE."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "'{" + ",".join(json.dumps(item, default=str) for item in value) + "}'"
    if isinstance(value, dict):
        return f"'{json.dumps(value)}'"
    return str(value) if isinstance(value, int) else f"'{value}'"
