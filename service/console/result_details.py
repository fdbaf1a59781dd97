"""The data of the page of a result, from the functions that the API calls."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.api.resources import Resources
from service.console.artifacts import LogText, Previews
from service.console.comparisons import ExplainedResult, explain_results
from service.console.form_states import FormState
from service.console.quarantine_forms import new_values
from service.console.result_attempts import AttemptsView, attribute_logs
from service.contracts.queries import PageQuery
from service.contracts.responses import Artifact
from service.domain.code_links import CodeLinks, code_links
from service.domain.comparison import ComparedRun
from service.domain.errors import NotFound
from service.domain.failure_locations import FailureLocation, find_location
from service.domain.filters import ResultFilter
from service.domain.keys import Caller
from service.domain.rows import ResultDetailRow, ResultRow, RunRow
from service.usecases.lists.failing_neighbors import FailingNeighbors, find_neighbors
from service.usecases.lists.find_project import find_project
from service.usecases.lists.list_artifacts import list_artifacts
from service.usecases.lists.list_comparison import find_change
from service.usecases.lists.list_quarantines import find_excuses
from service.usecases.lists.list_results import find_result, list_results

ARTIFACTS: Final = 100
_OWNER: Final = "owner"  # a property of the result
_HISTORY: Final = PageQuery(limit=50)


class ResultPageData(NamedTuple):
    """The data of the page of a result. `history` are the results of the case, newest first.

    `links` are those of the code host. `neighbors` is None if the result isn't failing. `location` is the file and line
    of the failure, or of the case. `logs` are those of which the attempt isn't known, or all of them if the result has
    only one attempt. `artifacts` are those that the page shows neither as an image nor as text.
    """

    detail: ResultDetailRow
    change: ExplainedResult
    baseline: ComparedRun | None
    neighbors: FailingNeighbors | None
    links: CodeLinks
    location: FailureLocation | None
    history: Sequence[ResultRow]
    attempts: AttemptsView
    artifacts: Sequence[Artifact]
    images: Sequence[Artifact]
    logs: Sequence[LogText]
    next_artifacts: str | None
    form: FormState


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
    texts, images = await previews.find_logs(listed.items), await previews.find_images(listed.items)
    attempts, logs = attribute_logs(detail, texts)
    return ResultPageData(
        detail,
        change,
        comparison.summary.baseline,
        await find_neighbors(pool, caller, detail.result),
        await find_links(resources, caller, detail.run),
        _find_location(detail),
        (await list_results(pool, caller, of_case, _HISTORY)).items,
        attempts,
        _without(listed.items, [*images, *(text.artifact for text in texts)]),
        images,
        logs,
        listed.next_cursor,
        FormState(_quarantine_values(detail)),
    )


def _without(artifacts: Sequence[Artifact], shown: Sequence[Artifact]) -> list[Artifact]:
    ids = {artifact["id"] for artifact in shown}
    return [artifact for artifact in artifacts if artifact["id"] not in ids]


async def find_links(resources: Resources, caller: Caller, run: RunRow) -> CodeLinks:
    """Return the links of the repository of a run, with the pattern of its project."""
    try:
        pattern = (await find_project(resources.pool, caller, run.project_id))["code_url_pattern"]
    except NotFound:  # deleted concurrently
        pattern = None
    return code_links(run.repository_url, pipeline=run.pipeline, pattern=pattern)


def _find_location(detail: ResultDetailRow) -> FailureLocation | None:
    failure = detail.failure
    texts = [failure.details, failure.message] if failure else []
    return find_location(texts, detail.result.file, detail.line)


def _quarantine_values(detail: ResultDetailRow) -> dict[str, str]:
    """Return the initial values of the form that quarantines the case: the failure is the reason."""
    reason = detail.result.failure_summary or ""
    return {**new_values(), "reason": reason, "owner": detail.properties.get(_OWNER, "")}
