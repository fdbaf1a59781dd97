"""A pytest plugin with deliberate defects, which named tests must detect: `pytest -p tests.faults.mutated_tests`.

RESULTS_TEST_MUTATION names the defect. Without it, the tests are unchanged.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import asyncpg
from aiohttp import web

from service.database import migrations
from service.database.database import as_organization
from service.database.statements import statements
from service.http import mutations
from service.http.authentication import get_caller
from service.http.process import RESOURCES
from service.runs import api as runs_api
from tests.faults.mutations import VARIABLE

PLUGIN: Final = "tests.faults.mutated_tests"
_PROTECTED_TABLES: Final = "SELECT relname FROM pg_class WHERE relrowsecurity"
_FILES: Final = "SELECT path FROM artifacts JOIN runs USING (org_id, run_key) WHERE run_id = $1"


def ignore_fencing_tokens() -> None:
    """Let a worker write after its lease was lost."""
    for noun in ("exports", "reports", "webhooks"):
        loaded = cast("dict[str, str]", statements(noun))
        for name, sql in loaded.items():
            every_token = sql.replace(" AND claim = $3", " AND $3::uuid IS NOT NULL")
            loaded[name] = every_token.replace(" AND deliveries.claim = outcome.claim", "")


def disable_row_level_security() -> None:
    """Let every organization read the rows of all."""
    apply = migrations.apply

    async def apply_without_policies(database_url: str) -> Any:
        applied = await apply(database_url)
        superuser = await asyncpg.connect(database_url)
        for row in await superuser.fetch(_PROTECTED_TABLES):
            await superuser.execute(f"ALTER TABLE {row['relname']} DISABLE ROW LEVEL SECURITY")
        await superuser.close()
        return applied

    setattr(migrations, "apply", apply_without_policies)  # noqa: B010 - mypy rejects an assignment


def delete_files_before_commit() -> None:
    """Delete the files of a run before the transaction that deletes the run."""
    mutate = mutations.mutate

    async def delete_files_first(
        request: web.Request, change: Callable[[Any], Awaitable[web.Response]]
    ) -> web.Response:
        resources = request.app[RESOURCES]
        async with as_organization(resources.pool, get_caller(request).org_id) as connection:
            rows = await connection.fetch(_FILES, request.match_info["run_id"])
        for row in rows if request.method == "DELETE" else ():
            await resources.storage.delete(row["path"])
        return await mutate(request, change)

    setattr(runs_api, "mutate", delete_files_first)  # noqa: B010


MUTATIONS: Final[Mapping[str, Callable[[], None]]] = {
    mutate.__name__: mutate
    for mutate in (ignore_fencing_tokens, disable_row_level_security, delete_files_before_commit)
}


def pytest_configure() -> None:
    if name := os.environ.get(VARIABLE):
        MUTATIONS[name]()
