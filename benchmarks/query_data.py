"""The data of the query benchmarks."""

from pathlib import Path
from typing import Final

import asyncpg

_FOLDER: Final = Path(__file__).parent


async def fill(url: str, runs: int, small_runs: int, folder: Path = _FOLDER) -> None:
    """Insert the rows, one statement after the other. `folder` contains the statements for this schema."""
    text = (folder / "query.sql").read_text() + (folder / "query_comparison.sql").read_text()
    text = text.replace("{runs}", str(runs)).replace("{small_runs}", str(small_runs))
    connection = await asyncpg.connect(url, command_timeout=3600)
    for statement in text.split(";\n"):
        if statement.strip():
            await connection.execute(statement)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.close()
