"""The tests that failed in runs, or that runs lack, as the selection of a test tool."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import quote

from service.client.checkout import find_checkout, path_below
from service.client.http import ClientError, JsonObject, Server, read_list
from service.client.pipelines import describe_absence, find_runs
from service.client.runs import run_path
from service.client.selections import Selection
from service.client.servers import ServerKey, open_servers
from service.client.terminal import print_message, printable_line
from service.client.tool_selections import SELECTIONS, SelectedTest
from service.command_line import print_line
from service.domain.statuses import EXECUTED, FAILING
from service.splits.model import name_in_results

_PAGE: Final = "1000"
_MAX_SHOWN: Final = 20
_RETRY_S: Final = 60


def print_selection(url: str, key: ServerKey, selection: Selection, tool: str, *, missing: bool) -> None:
    """Print the selection on stdout, and what a reader must know about it on stderr. Raises ClientError."""
    with open_servers(url, key, _RETRY_S, selection.project) as servers:
        found = find_runs(servers, selection, required=False)
        if not found:
            raise ClientError(describe_absence(selection))
        tests = {*chain.from_iterable(_read_run(*found[run_id], run_id, missing=missing) for run_id in found)}
    lines, widened = SELECTIONS[tool](sorted(tests))
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


def _read_run(server: Server, run: JsonObject | None, run_id: str, *, missing: bool) -> Iterator[SelectedTest]:
    """Yield the failed tests of a run, or what it lacks. Raises ClientError."""
    shown = f"run {printable_line(run_id)}"
    if run is None:
        raise ClientError(f"{shown} doesn't exist yet, because its reports aren't processed")
    if run["results_expired"]:
        raise ClientError(f"the results of {shown} have expired")
    if not run["complete"]:
        print_message(f"warning: {shown} isn't complete, so tests can be missing in the selection")
    if missing:
        yield from _read_missing(server, run, shown)
        return
    if run["failures_missing"] or (run["status"] in FAILING and not any(run["counts"][each] for each in FAILING)):
        print_message(f"warning: {shown} ({run['status']}) has failures that no result states, so run all tests")
    for status in FAILING:
        yield from map(_to_test, read_list(server, "/results", {"run_id": run_id, "status": status, "limit": _PAGE}))


def _read_missing(server: Server, run: JsonObject, shown: str) -> Iterator[SelectedTest]:
    """Yield the missing items of the splits of a run, and the missing tests of its baseline that belong to no item."""
    found = server.find(f"{run_path(run['run_id'])}/splits")  # None: the server is older than splits
    removed = [*map(_to_test, _read_removed(server, run["run_id"], shown, is_required=not (found and found["data"])))]
    by_label, folder = {test.label: test for test in removed}, f"{path_below(find_checkout(), Path.cwd())}/"
    jobs = {"pipeline": run["pipeline"]} if run["pipeline"] else {"run_id": run["run_id"]}
    known: set[str] = set()
    for split in found["data"] if found else ():
        plan = server.find(f"/splits/{quote(split['key'], safe='')}", {"project_id": run["project_id"], **jobs})
        planned = [item for part in plan["parts"] for item in part["items"]] if plan else []
        missing = [each["item"] for each in split["missing_items"]]
        names = {item: name_in_results(item, split["unit"], split["path_prefix"]) for item in (*planned, *missing)}
        known.update(names.values())
        if split["unit"] == "file":
            yield from (SelectedTest(item, "", names[item].removeprefix(folder)) for item in missing)
        else:
            yield from (by_label.get(item, SelectedTest(*item.rpartition(" > ")[::2])) for item in missing)
    yield from (test for test in removed if known.isdisjoint((test.file, test.label)))


def _read_removed(server: Server, run_id: str, shown: str, *, is_required: bool) -> list[JsonObject]:
    """Return the results of the baseline that a run lacks. Raises ClientError if they are unknown and required."""
    path, filters = f"{run_path(run_id)}/comparison", {"change": "removed", "limit": _PAGE}
    comparison = server.get(path, {**filters, "limit": "1"})
    has_baseline = comparison["baseline"] is not None
    if has_baseline and comparison["counts"]["removed"] is not None:
        return [item for item in read_list(server, path, filters) if item["baseline_status"] in EXECUTED]
    reason = "a run has more than 50,000 results" if has_baseline else "no earlier run can be compared with"
    unknown = f"the missing tests of {shown} are unknown, because {reason}"
    if is_required:
        raise ClientError(unknown)
    print_message(f"warning: only items of splits are selected: {unknown}")
    return []


def _to_test(result: JsonObject) -> SelectedTest:
    project = result["variant"].get("project", "")
    return SelectedTest(result["suite"], result["name"], result["file"] or "", project)
