"""The statements of a comparison of two runs of 10,000 results with 200 failures, in a window of 20 runs."""

from typing import Any, NamedTuple

from service.domain.comparison import LIST_START, LISTED_CHANGES, ORDER, other_pairs
from service.domain.ids import OrgId
from service.store.postgres.composition import Statement, compose
from service.store.queries import comparison as read_comparison
from service.store.queries.runs import RunSelector

RUN = RunSelector("run_21", None)
PAGE = 100


class MeasuredStatement(NamedTuple):
    """A statement with its parameters."""

    name: str
    statement: Statement
    arguments: dict[str, Any]


async def comparison_statements(connection: Any, org_id: OrgId) -> list[MeasuredStatement]:
    """Return every statement of the first page, with the parameters that the earlier ones yield."""
    found = await read_comparison.find_run(connection, org_id, RUN)
    assert found is not None
    run, branch = found
    window = [past.run_key for past in await read_comparison.find_window(connection, org_id, run, branch)]
    failing = await read_comparison.find_failing(connection, org_id, run.run_key)
    assert (len(window), len(failing)) == (20, 200)
    of_run = {"org_id": org_id, "run_key": run.run_key}
    of_project = {"project_id": run.project_id, "branch": branch, "environment": None}
    ranks = {pair.code: ORDER[change] for pair, change in other_pairs().items() if change in LISTED_CHANGES}
    page = {"pairs": list(ranks), "ranks": list(ranks.values()), "page": PAGE, "after_case": LIST_START.case_key}
    cases = {"org_id": org_id, "case_keys": failing}
    items = {"org_id": org_id, "case_keys": failing[:PAGE]} | read_comparison.values_of_runs([run.run_key] * PAGE)
    history = cases | read_comparison.values_of_runs(window)
    return [
        MeasuredStatement("the run", compose("compared_run"), {"org_id": org_id, **RUN._asdict()}),
        MeasuredStatement("the window", read_comparison.window_statement(), of_run | of_project),
        MeasuredStatement("failing results", read_comparison.failing_statement(), of_run),
        MeasuredStatement("texts for quarantines", compose("texts_of_cases"), cases),
        MeasuredStatement("results in the window", read_comparison.history_statement(), history),
        MeasuredStatement(
            "merged results", compose("merged_results"),
            of_run | page | {"baseline_key": window[0], "after_rank": LIST_START.order},
        ),
        MeasuredStatement("items", read_comparison.items_statement(), items),
    ]  # fmt: skip
