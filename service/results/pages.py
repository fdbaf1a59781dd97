"""One result: its failure, its attempts, its output, and its artifacts."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from aiohttp import web

from service.artifacts.contract import Artifact
from service.artifacts.operations import list_artifacts
from service.artifacts.pages import LogText, Previews, read_artifacts_query, trace_command
from service.comparison.operations import find_change
from service.comparison.pages import explain_results
from service.console.charts import HistoryStrip, StripItem, history_strip
from service.console.formats import format_time
from service.console.forms import FormState
from service.console.labels import RESULT_LABELS
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_url, render
from service.contracts.queries import PageQuery
from service.domain.code_links import CodeLinks, code_links
from service.domain.errors import NotFound
from service.domain.filters import ResultFilter
from service.failures.model import FailureLocation, find_location
from service.http.authentication import get_caller
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller
from service.projects.operations import find_project
from service.quarantines.operations import find_excuses
from service.quarantines.pages import new_values
from service.results.operations import find_neighbors, find_result, list_results
from service.results.rows import AttemptRow, Execution, ResultDetailRow, ResultRow, describe_flaky, group_files
from service.runs.model import RunRow
from service.states.read_states import find_states

_ARTIFACTS: Final = 100
_OWNER: Final = "owner"  # a property of the result
_HISTORY: Final = PageQuery(limit=50)


async def show_result(request: web.Request) -> web.Response:
    """Show a result. Raises NotFound, and Gone if the results of the run have expired."""
    resources, caller, result_id = request.app[RESOURCES], get_caller(request), request.match_info["id"]
    pool, artifacts_query = resources.pool, read_artifacts_query(request, _ARTIFACTS)
    detail = await find_result(pool, caller, result_id)
    artifacts = await list_artifacts(pool, caller, result_id, artifacts_query, resources.settings.link_base)
    comparison = await find_change(pool, caller, detail.result)
    (change,) = explain_results(comparison, await find_excuses(pool, caller, comparison.items))
    previews = Previews(resources, caller)
    texts, images = await previews.find_logs(artifacts.items), await previews.find_images(artifacts.items)
    attempts, logs = _attribute_logs(detail, texts)
    of_case = ResultFilter(case_key=detail.result.case_key, project_id=detail.result.project_id)
    context = {
        "detail": detail,
        "result": detail.result,
        "run": detail.run,
        "case_states": await find_states(pool, caller, [detail.result.case_key]),
        "change": change,
        "baseline": comparison.summary.baseline,
        "neighbors": await find_neighbors(pool, caller, detail.result),
        "links": await find_links(resources, caller, detail.run),
        "location": _find_location(detail),
        "history": result_strip(request, (await list_results(pool, caller, of_case, _HISTORY)).items),
        "attempts": attempts,
        "artifacts": _without(artifacts.items, [*images, *(text.artifact for text in texts)]),
        "images": images,
        "logs": logs,
        "next_artifacts": artifacts.next_cursor,
        "trace_command": trace_command,
        "form": FormState(_quarantine_values(detail)),
    }
    return render(request, "result.html", context)


class AttemptView(NamedTuple):
    """An attempt and its output. `repeats_failure` states whether its failure is also the failure of the result."""

    attempt: AttemptRow
    repeats_failure: bool
    logs: Sequence[LogText]


class AttemptsView(NamedTuple):
    """The attempts of a result. `flaky` states in which of them it failed and passed, or is None."""

    flaky: str | None
    items: Sequence[AttemptView]


def _attribute_logs(detail: ResultDetailRow, logs: Sequence[LogText]) -> tuple[AttemptsView, Sequence[LogText]]:
    """Return the attempts with their logs, and the logs of which the attempt isn't known.

    The logs of the only attempt belong to the result.
    """
    executions = [Execution(each.attempt, each.status, each.job_attempt) for each in detail.attempts]
    flaky = describe_flaky(detail.part, executions) if detail.result.flaky else None
    by_id = {log.artifact["id"]: log for log in logs}
    grouped = group_files([log.artifact for log in logs], executions) if len(executions) > 1 else {}
    of_attempts = {number: [by_id[file["id"]] for file in files] for number, files in grouped.items()}
    items = [
        AttemptView(each, each.failure == detail.failure, of_attempts.get(each.attempt, [])) for each in detail.attempts
    ]
    return AttemptsView(flaky, items), of_attempts.get(None, []) if len(executions) > 1 else logs


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


def result_strip(request: web.Request, results: Sequence[ResultRow]) -> HistoryStrip:
    """Return the strip of the results of a case, newest first, with links to their pages."""
    return history_strip([strip_item(result, page_url(request.app, "result", id=result.id)) for result in results])


def strip_item(result: ResultRow, href: str) -> StripItem:
    """Return a result with its link as an item of a strip."""
    status = shown_status(result)
    title = f"{RESULT_LABELS[status].text} in {result.run_id}, {format_time(result.completed_ms)}"
    return StripItem(status, title, href)


def shown_status(result: ResultRow) -> str:
    """Return the status that a page shows: flaky for a flaky result."""
    return "flaky" if result.flaky else result.status


ROUTES: Final = (ConsoleRoute("result", "/console/results/{id}", page("results:read", show_result)),)
