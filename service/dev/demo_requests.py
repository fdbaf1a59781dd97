"""Requests that complete the demo history: gates, decisions, a quarantine, a ticket, files, and an export."""

from pathlib import Path
from typing import Final
from urllib.parse import quote

from service.client.http import ClientError, Server
from service.client.servers import open_server
from service.dev.history import (
    FIRST_PULL_REQUEST_RUN,
    MAIN_RUNS,
    PROJECT,
    PULL_REQUEST_RUN,
    QUARANTINED_CASE,
    run_id_of,
)

_RETRY_S: Final = 5.0
_FILES: Final = Path(__file__).parent / "files"
_ATTACHMENTS: Final = (("component.log", "text/plain", "log"), ("durations.png", "image/png", "other"))
_RELEASE, _HEALTH = "release", "main-health"
_POLICIES: Final = {_RELEASE: {"max_new_failures": 0}, _HEALTH: {"min_pass_rate": 0.95, "max_flaky": 5}}
_DECIDED_RUNS: Final = {
    _RELEASE: (*range(MAIN_RUNS - 13, MAIN_RUNS), PULL_REQUEST_RUN, MAIN_RUNS),
    _HEALTH: (MAIN_RUNS - 1, MAIN_RUNS),
}
_TICKETS: Final = "https://tickets.example.com/DEMO-"


def send(api_url: str, key: str) -> str | None:
    """Send all requests, and return the message of the first error."""
    try:
        with open_server(api_url, key, _RETRY_S) as server:
            _create_quarantine(server)
            _decide(server)
            _attach_files(server)
            _set_ticket(server)
            server.post("/results/export", {"format": "csv", "filter": {"run_id": run_id_of(MAIN_RUNS)}})
    except ClientError as error:
        return str(error)
    return None


def _create_quarantine(server: Server) -> None:
    document = {
        "project_id": PROJECT,
        "suite": "*tests.dev.test_processes",
        "name": QUARANTINED_CASE,
        "reason": "Demo: the orphaned process needs more time to exit on loaded machines",
        "owner": "runtime-team",
        "ticket_url": f"{_TICKETS}17",
    }
    server.post("/quarantines", document)


def _decide(server: Server) -> None:
    """Create the gates, store decisions of both and one without a gate, and waive the newest one of the release."""
    for name, policy in _POLICIES.items():
        _send(server, "PUT", f"/gates/{name}", json={"policy": policy})
    decisions = {
        name: [server.post(f"/runs/{run_id_of(number)}/decisions", {"gate": name}) for number in numbers]
        for name, numbers in _DECIDED_RUNS.items()
    }
    recorded = {"policy": {"max_new_failures": 0}, "record": True}  # as the command gate records it
    server.post(f"/runs/{run_id_of(FIRST_PULL_REQUEST_RUN)}/decisions", recorded)
    waiver = {"reason": "Demo: the failure concerns only the error message"}
    server.post(f"/decisions/{decisions[_RELEASE][-1]['id']}/waiver", waiver)


def _attach_files(server: Server) -> None:
    """Attach a log and a chart to failing results of components in the newest run and in the pull request."""
    for number in (MAIN_RUNS, PULL_REQUEST_RUN):
        failing = server.get("/results", {"run_id": run_id_of(number), "status": "failed", "q": "tests.dev."})["data"]
        for result in failing:
            for name, content_type, kind in _ATTACHMENTS:
                path = f"/results/{result['id']}/artifacts/{quote(name)}"
                content, headers = (_FILES / name).read_bytes(), {"Content-Type": content_type}
                _send(server, "PUT", path, params={"kind": kind}, content=content, headers=headers)


def _set_ticket(server: Server) -> None:
    """Set the ticket of the largest failure group."""
    group = server.get("/failures", {"project_id": PROJECT, "limit": "1"})["data"][0]
    _send(server, "PATCH", f"/failures/{group['id']}", json={"ticket_url": f"{_TICKETS}9"})


def _send(server: Server, method: str, path: str, **request: object) -> None:
    with server.open(method, path, **request):
        pass
