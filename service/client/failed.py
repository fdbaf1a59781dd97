"""The tests that failed in runs, or that runs lack, as the selection of a test tool."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from service.client.http import ClientError, JsonObject, Server, read_list
from service.client.pipelines import describe_absence, find_runs
from service.client.runs import run_path
from service.client.selections import Selection
from service.client.servers import ServerKey, open_servers
from service.client.terminal import print_message, printable_line
from service.client.tool_selections import SELECTIONS, SelectedTest
from service.command_line import print_line
from service.domain.statuses import EXECUTED, FAILING

_PAGE: Final = "1000"
_MAX_SHOWN: Final = 20
_RETRY_S: Final = 60


def print_selection(url: str, key: ServerKey, selection: Selection, tool: str, *, missing: bool) -> None:
    """Print the selection on stdout, and what a reader must know about it on stderr. Raises ClientError."""
    with open_servers(url, key, _RETRY_S, selection.project) as servers:
        found = find_runs(servers, selection, required=False)
        if not found:
            raise ClientError(describe_absence(selection))
        results = [*chain.from_iterable(_read_run(*found[run_id], run_id, missing=missing) for run_id in found)]
    lines, widened = SELECTIONS[tool](sorted(set(map(_to_test, results))))
    if not lines:
        print_message(f"no {'missing' if missing else 'failed'} tests")
    for line in lines:
        print_line(line)
    if widened:
        print_message("warning: more tests than necessary are selected, because the tool can't select these exactly:")
    for text in widened[:_MAX_SHOWN]:
        print_message(f"  {printable_line(text)}")
    if len(widened) > _MAX_SHOWN:
        print_message(f"  and {len(widened) - _MAX_SHOWN:,} more")


def _read_run(server: Server, run: JsonObject | None, run_id: str, *, missing: bool) -> Iterator[JsonObject]:
    """Yield the results of a run, or the results of its baseline that it lacks. Raises ClientError."""
    shown = f"run {printable_line(run_id)}"
    if run is None:
        raise ClientError(f"{shown} doesn't exist yet, because its reports aren't processed")
    if run["results_expired"]:
        raise ClientError(f"the results of {shown} have expired")
    if not run["complete"]:
        print_message(f"warning: {shown} isn't complete, so tests can be missing in the selection")
    if missing:
        yield from _read_missing(server, run_id, shown)
        return
    if run["failures_missing"] or (run["status"] in FAILING and not any(run["counts"][each] for each in FAILING)):
        print_message(f"warning: {shown} ({run['status']}) has failures that no result states, so run all tests")
    for status in FAILING:
        yield from read_list(server, "/results", {"run_id": run_id, "status": status, "limit": _PAGE})


def _read_missing(server: Server, run_id: str, shown: str) -> Iterator[JsonObject]:
    path, filters = f"{run_path(run_id)}/comparison", {"change": "removed", "limit": _PAGE}
    comparison = server.get(path, {**filters, "limit": "1"})
    if comparison["baseline"] is None:
        raise ClientError(f"the missing tests of {shown} are unknown, because no earlier run can be compared with")
    if comparison["counts"]["removed"] is None:
        raise ClientError(f"the missing tests of {shown} are unknown, because a run has more than 50,000 results")
    yield from (item for item in read_list(server, path, filters) if item["baseline_status"] in EXECUTED)


def _to_test(result: JsonObject) -> SelectedTest:
    project = result["variant"].get("project", "")
    return SelectedTest(result["suite"], result["name"], result["file"] or "", project)
