"""The data of the page of a result, from the functions that the API calls."""

from typing import Any, Final, NamedTuple

import orjson

from service.api.resources import Resources
from service.console.artifacts import LogText, Previews
from service.console.run_overviews import add_evidence
from service.contracts.queries import PageQuery
from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, RunKey
from service.domain.keys import Caller
from service.store.postgres.database import as_organization
from service.store.postgres.transactions import reading_snapshot
from service.store.queries import results
from service.store.queries.runs import RunSelector
from service.usecases.lists.list_artifacts import list_artifacts
from service.usecases.lists.list_comparison import find_change

ARTIFACTS: Final = 100
_HISTORY: Final = 50


class ResultPageData(NamedTuple):
    """The objects of the API that the page of a result shows.

    `change` is the result with its change and evidence. `history` are the results of the case, newest first.
    """

    result: dict[str, Any]
    change: dict[str, Any]
    baseline: dict[str, Any] | None
    history: list[dict[str, Any]]
    artifacts: list[dict[str, Any]]
    images: list[dict[str, Any]]
    logs: list[LogText]
    next_artifacts: str | None


async def find_result(
    resources: Resources, caller: Caller, key: tuple[RunKey, CaseKey], artifacts_after: str | None
) -> ResultPageData | None:
    """Return the data of the page, or None if the caller can't see the result."""
    link_base, page = resources.settings.link_base, PageQuery(limit=ARTIFACTS, starting_after=artifacts_after)
    listed = await list_artifacts(resources.pool, caller, key, page, link_base)
    async with as_organization(resources.pool, caller.org_id) as connection, reading_snapshot(connection):
        text = await results.find_one(connection, caller.org_id, key, caller.project_id, link_base)
        if text is None or listed is None:
            return None
        result: dict[str, Any] = orjson.loads(text)
        selector = RunSelector(result["run_id"], caller.project_id)
        comparison = await find_change(connection, caller.org_id, selector, result)
        (change,) = await add_evidence(connection, caller, comparison)
        of_case = ResultFilter(case_key=key[1], project_id=result["project_id"])
        history = await results.list_page(connection, caller.org_id, of_case, None, _HISTORY)
    artifacts = orjson.loads(listed.data)
    previews = Previews(resources.pool, resources.storage, caller)
    return ResultPageData(
        result,
        change,
        comparison.summary["baseline"],
        orjson.loads(history.data),
        artifacts,
        await previews.find_images(artifacts),
        await previews.find_logs(artifacts),
        listed.next_cursor,
    )
