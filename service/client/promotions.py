"""The promotion of untrusted runs: a trusted job states the commit that they must have tested."""

from typing import Final

from service.client.ci import pipeline_run_id, untrusted_run_id
from service.client.http import JsonObject, Server, read_list
from service.client.runs import format_counts, run_path
from service.client.selections import Selection
from service.client.servers import ServerKey, open_server, open_servers
from service.client.terminal import print_message, printable_line
from service.commands import print_line

_RETRY_S: Final = 60
_PAGE: Final = "1000"


def promote(url: str, key: ServerKey, selection: Selection, promotion: JsonObject) -> None:
    """Promote the selected runs, and print them. A repeated command finds no untrusted run. Raises ClientError.

    `promotion` is the body of the request: the commit, and, if they are known, the pull request and its target branch.
    """
    if selection.run_id is not None:
        with open_server(url, key, _RETRY_S, selection.project) as server:
            _promote_run(server, selection.run_id, promotion)
        return
    with open_servers(url, key, _RETRY_S, selection.project) as servers:
        untrusted = [(server, run) for server in servers for run in _list_untrusted(server, selection)]
        for server, run in untrusted:
            _promote_run(server, run["run_id"], promotion)
    if not untrusted:
        print_message(f"pipeline {selection.pipeline} has no untrusted run")


def _list_untrusted(server: Server, selection: Selection) -> list[JsonObject]:
    """Return the untrusted runs with an ID of the pipeline. Anybody can send other ones that state the pipeline."""
    pipeline = selection.pipeline or ""
    filters = {"pipeline": pipeline, "trusted": "false", "limit": _PAGE}
    found = read_list(server, "/runs", filters | ({"project_id": selection.project} if selection.project else {}))
    return [run for run in found if _is_of_pipeline(run, pipeline)]


def _is_of_pipeline(run: JsonObject, pipeline: str) -> bool:
    shared = untrusted_run_id(pipeline_run_id(pipeline, run["project_id"]))
    of_job: bool = run["run_id"] == shared or run["run_id"].startswith(untrusted_run_id(f"{pipeline}-"))
    return of_job


def _promote_run(server: Server, run_id: str, promotion: JsonObject) -> None:
    run = server.post(f"{run_path(run_id)}/promote", promotion)
    print_line(printable_line(f"run {run_id} is trusted: {format_counts(run)}: {server.links.run(run_id)}"))
