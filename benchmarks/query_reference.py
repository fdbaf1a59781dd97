"""The API process of the query benchmark with the SQL and session settings of version 0.9.0.

Its lists have no filters, except for the list of failures.
"""

from pathlib import Path
from typing import Any, Final

from service import log
from service.api.http.responses import compact
from service.api.server import main as serve
from service.app import make_app
from service.domain.filters import Position, ResultFilter, RunFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.settings import Settings
from service.store.postgres import database
from service.store.postgres.database import Connection
from service.store.queries import results as read_results
from service.store.queries import runs as read_runs
from service.store.queries.filter_values import filter_values
from service.store.queries.results import ResultPage
from service.store.queries.runs import RunPage

_FOLDER: Final = Path(__file__).with_name("reference")
_PAGE, _FAILURES, _RUNS, _ONE = (
    (_FOLDER / f"{name}.sql").read_text()
    for name in ("page_of_results", "page_of_failures", "page_of_runs", "one_result")
)
_KEYS: Final = ("statuses", "org_id", "before_run", "before_case", "first_key")
_KEYS_OF_RUNS: Final = ("statuses", "org_id", "before_run", "first_key")


async def _list_page(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, after: Position | None, limit: int
) -> ResultPage:
    values = filter_values(org_id, filter_, after)
    statement = _FAILURES if filter_.excludes_passed else _PAGE
    row = await connection.fetchrow(statement, *(values[name] for name in _KEYS), limit)
    assert row is not None
    return ResultPage(row["data"], Position(row["run_key"], row["case_key"]))


async def _list_runs(
    connection: Connection, org_id: OrgId, filter_: RunFilter, after: RunKey | None, limit: int
) -> RunPage:
    values = filter_values(org_id, filter_, None if after is None else Position.after_run(after))
    row = await connection.fetchrow(_RUNS, *(values[name] for name in _KEYS_OF_RUNS), limit)
    assert row is not None
    return RunPage(compact(row["data"]).decode(), row["run_key"])


async def _find_one(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None, link_base: str
) -> Any:
    return await connection.fetchval(_ONE, link_base, org_id, *key, project_id)


settings = Settings()
log.set_up(settings.log_level)
read_results.list_page = _list_page  # type: ignore[assignment]  # without budgets
read_results.find_one = _find_one
read_runs.list_page = _list_runs  # type: ignore[assignment]  # without budgets
database._SESSION["results_api"].pop("plan_cache_mode")
database._KEPT_MEMORY_KIB = 0  # type: ignore[misc]
serve.run(settings, make_app)
