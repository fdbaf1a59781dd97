"""The reads of a comparison of two runs of 10,000 results with 1,000 failures, in a window of 100 runs."""

from benchmarks.statements import Read
from service.comparison import store as comparison_store
from service.comparison.model import LIST_START, LISTED_CHANGES, ORDER, other_pairs
from service.database.database import Connection
from service.domain.ids import OrgId
from service.results import queries as results_queries
from service.runs.store import RunSelector

RUN = RunSelector("run_101", None)
PAGE = 100


async def comparison_reads(connection: Connection, org_id: OrgId) -> dict[str, Read]:
    """Return every read of the first page, with the arguments that the earlier ones return."""
    found = await comparison_store.find_run(connection, org_id, RUN)
    assert found is not None
    run, branch = found
    window = [past.run_key for past in await comparison_store.find_window(connection, org_id, run, branch)]
    failing = await comparison_store.find_failing(connection, org_id, run.run_key)
    assert (len(window), len(failing)) == (100, 1_000)
    ranks = {pair: ORDER[change] for pair, change in other_pairs().items() if change in LISTED_CHANGES}
    page = comparison_store.PairPage(ranks, LIST_START, PAGE)
    listed = [(run.run_key, case_key) for case_key in failing[:PAGE]]
    return {
        "the run": lambda c: comparison_store.find_run(c, org_id, RUN),
        "the window": lambda c: comparison_store.find_window(c, org_id, run, branch),
        "failing results": lambda c: comparison_store.find_failing(c, org_id, run.run_key),
        "texts for quarantines": lambda c: comparison_store.find_texts(c, org_id, failing),
        "attempts of the failures": lambda c: comparison_store.find_retried(c, org_id, run.run_key, failing),
        "evidence of 10 failures": lambda c: comparison_store.find_history(c, org_id, window, failing[:10]),
        "evidence of 1,000 failures": lambda c: comparison_store.find_history(c, org_id, window, failing),
        "merged results": lambda c: comparison_store.merge_results(c, org_id, (run.run_key, window[0]), page),
        "listed results": lambda c: results_queries.find_by_keys(c, org_id, listed),
    }
