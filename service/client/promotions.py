"""The promotion of untrusted runs: a trusted job states the commit that they must have tested."""

from typing import Final

from service.client.http import JsonObject, Server, read_list
from service.client.runs import format_counts, run_path
from service.client.selections import Selection
from service.client.servers import ServerKey, open_server, open_servers
from service.client.terminal import print_message, printable_line
from service.commands import print_line

_RETRY_S: Final = 60
_PAGE: Final = "1000"


def promote(url: str, key: ServerKey, selection: Selection, commit_sha: str) -> None:
    """Promote the selected runs, and print them. A repeated command finds no untrusted run. Raises ClientError."""
    if selection.run_id is not None:
        with open_server(url, key, _RETRY_S, selection.project) as server:
            _promote_run(server, selection.run_id, commit_sha)
        return
    with open_servers(url, key, _RETRY_S, selection.project) as servers:
        untrusted = [(server, run) for server in servers for run in _list_untrusted(server, selection)]
        for server, run in untrusted:
            _promote_run(server, run["run_id"], commit_sha)
    if not untrusted:
        print_message(f"pipeline {selection.pipeline} has no untrusted run")


def _list_untrusted(server: Server, selection: Selection) -> list[JsonObject]:
    filters = {"pipeline": selection.pipeline or "", "trusted": "false", "limit": _PAGE}
    return read_list(server, "/runs", filters | ({"project_id": selection.project} if selection.project else {}))


def _promote_run(server: Server, run_id: str, commit_sha: str) -> None:
    run = server.post(f"{run_path(run_id)}/promote", {"commit_sha": commit_sha})
    print_line(printable_line(f"run {run_id} is trusted: {format_counts(run)}: {server.links.run(run_id)}"))
