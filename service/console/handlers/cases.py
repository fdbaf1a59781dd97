"""The page of a case, with the form that quarantines it."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from aiohttp import web
from multidict import MultiDict

from service.api.http.authentication import get_caller
from service.api.resources import RESOURCES, Resources
from service.console.case_histories import case_history
from service.console.form_states import FormState, state_of, submit
from service.console.forms import get_form
from service.console.pages import page_url, render
from service.console.quarantine_forms import create_quarantine, new_values
from service.console.result_details import find_links
from service.domain.code_links import CodeLinks
from service.domain.errors import Gone, NotFound
from service.domain.keys import Caller
from service.domain.rows import ResultDetailRow, ResultRow
from service.usecases.lists.find_case import MAX_VARIANTS, find_case, find_newest_results, find_other_variants
from service.usecases.lists.list_quarantines import find_quarantine_of_case
from service.usecases.lists.list_results import find_result

_RESULTS: Final = 100


async def show_case(request: web.Request) -> web.Response:
    """Show a case: its newest results, rates, durations, failures, variants, and quarantine."""
    return await _page(request, FormState(new_values()))


async def quarantine_case(request: web.Request) -> web.Response:
    """Quarantine the case, and show it again. An error is shown in the form."""
    form, case_id = get_form(request), request.match_info["case_id"]
    path = page_url(request.app, "case", case_id=case_id)
    requested = MultiDict([*form.items(), ("case", case_id)])
    outcome = await submit(request, partial(create_quarantine, request, requested, lambda _: path))
    if isinstance(outcome, web.Response):
        return outcome
    return await _page(request, state_of(form, new_values(), outcome))


async def _page(request: web.Request, form: FormState) -> web.Response:
    resources, caller, case_id = request.app[RESOURCES], get_caller(request), request.match_info["case_id"]
    pool = resources.list_pool
    case = await find_case(pool, caller, case_id, _RESULTS)
    results = await find_newest_results(pool, caller, case_id, _RESULTS)
    # Not of the pool for lists, because a replica can lag.
    quarantine = await find_quarantine_of_case(resources.pool, caller, case.project_id, case.case_key)
    newest, links = await _find_newest(resources, caller, results)
    context = {
        "case": case,
        "newest": newest,
        "links": links,
        "history": case_history(results, case.p95_duration_ms, lambda id_: page_url(request.app, "result", id=id_)),
        "variants": await find_other_variants(pool, caller, case, _RESULTS),
        "max_variants": MAX_VARIANTS,
        "quarantine": quarantine,
        "form": form,
    }
    return render(request, "case.html", context, form.status)


async def _find_newest(
    resources: Resources, caller: Caller, results: Sequence[ResultRow]
) -> tuple[ResultDetailRow | None, CodeLinks]:
    """Return the newest result with the links of its run. None if the case has no result anymore."""
    try:
        detail = await find_result(resources.list_pool, caller, results[0].id) if results else None
    except (NotFound, Gone):  # deleted concurrently
        detail = None
    return detail, await find_links(resources, caller, detail.run) if detail else CodeLinks()
