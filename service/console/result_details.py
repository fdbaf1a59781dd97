"""The data of the page of a result, from the functions that the API calls."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.api.resources import Resources
from service.console.artifacts import LogText, Previews
from service.console.comparisons import ExplainedResult, explain_results
from service.contracts.queries import PageQuery
from service.contracts.responses import Artifact
from service.domain.comparison import ComparedRun
from service.domain.filters import ResultFilter
from service.domain.keys import Caller
from service.domain.rows import ResultDetailRow, ResultRow
from service.usecases.lists.list_artifacts import list_artifacts
from service.usecases.lists.list_comparison import find_change
from service.usecases.lists.list_quarantines import find_excuses
from service.usecases.lists.list_results import find_result, list_results

ARTIFACTS: Final = 100
_HISTORY: Final = PageQuery(limit=50)


class ResultPageData(NamedTuple):
    """The data of the page of a result. `history` are the results of the case, newest first."""

    detail: ResultDetailRow
    change: ExplainedResult
    baseline: ComparedRun | None
    history: Sequence[ResultRow]
    artifacts: Sequence[Artifact]
    images: Sequence[Artifact]
    logs: Sequence[LogText]
    next_artifacts: str | None


async def find_result_page(
    resources: Resources, caller: Caller, result_id: str, artifacts_after: str | None
) -> ResultPageData:
    """Return the data of the page. Raises NotFound, and Gone if the results of the run have expired."""
    pool, shown = resources.pool, PageQuery(limit=ARTIFACTS, starting_after=artifacts_after)
    detail = await find_result(pool, caller, result_id)
    listed = await list_artifacts(pool, caller, result_id, shown, resources.settings.link_base)
    comparison = await find_change(pool, caller, detail.result)
    (change,) = explain_results(comparison, await find_excuses(pool, caller, comparison.items))
    of_case = ResultFilter(case_key=detail.result.case_key, project_id=detail.result.project_id)
    previews = Previews(resources, caller)
    return ResultPageData(
        detail,
        change,
        comparison.summary.baseline,
        (await list_results(pool, caller, of_case, _HISTORY)).items,
        listed.items,
        await previews.find_images(listed.items),
        await previews.find_logs(listed.items),
        listed.next_cursor,
    )
