"""The gate: waits for a run, requests a decision, prints it with the evidence, and returns the exit code."""

import os
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from service.client.annotations import annotations
from service.client.changes import ResultGroup, RunChanges, read_changes
from service.client.http import JsonObject, Server, ServerError, open_server
from service.client.markdown import code_span, render_changes
from service.client.receipts import list_receipts
from service.client.runs import INCOMPLETE, await_complete_run, format_counts, run_path
from service.client.terminal import append_to_github_file, ignore_closed_stdout, print_message, printable_line
from service.commands import print_line
from service.domain.evidence import describe_missing_parts, full_name
from service.domain.gates import describe_rule
from service.domain.receipts import report_warnings

PASSED: Final = 0
BLOCKED: Final = 1

_MAX_RETRY_S: Final = 60
_MAX_DECISIONS: Final = 3  # while the run changes
_MAX_SUMMARY: Final = 500_000  # characters; GitHub accepts 1 MiB
_DEFAULT_GATE: Final = "default"
_DEFAULT_POLICY: Final = {"max_failures": 0}


class GateRequest(NamedTuple):
    """The rules of a decision, and globs of the parts that can be missing.

    `rules` names a gate or contains a policy, as in the request of a decision. Without both, the gate `default` decides
    if it exists, or else any failure blocks. A policy blocks missing parts.
    """

    rules: JsonObject
    allowed_parts: Sequence[str] = ()

    def bodies(self) -> Iterator[JsonObject]:
        """Yield the requests to send, each if the gate of the previous one doesn't exist."""
        allowed = {"allow_missing_parts": list(self.allowed_parts)} if self.allowed_parts else {}
        if "gate" in self.rules:
            yield {**self.rules, **allowed}
            return
        if not self.rules:
            yield {"gate": _DEFAULT_GATE, **allowed}
        yield {"policy": {"max_missing_parts": 0, **self.rules.get("policy", _DEFAULT_POLICY)}, **allowed}


def gate(url: str, key: str, run_id: str, request: GateRequest, timeout_s: float, *, completes: bool = False) -> int:
    """Wait until the run is complete, print the decision, and return the exit code. Raises ServerError.

    With `completes`, the client completes the run of a pipeline first.
    """
    with open_server(url, key, retry_s=min(timeout_s, _MAX_RETRY_S)) as server:
        run = await_complete_run(server, run_id, timeout_s, completes=completes)
        if run is None:
            return INCOMPLETE
        decision, changes = _decide_and_compare(server, run, request)
        with ignore_closed_stdout():  # a closed stdout doesn't change the decision
            _print_decision(server, decision, changes)
        for warning in report_warnings(list_receipts(server, run_id)):
            print_message(f"warning: {warning}")
        append_to_github_file("GITHUB_STEP_SUMMARY", _render_summary(server, decision, changes))
    return BLOCKED if decision["decision"] == "blocked" else PASSED


def _decide_and_compare(server: Server, run: JsonObject, request: GateRequest) -> tuple[JsonObject, RunChanges]:
    """Return a decision and the changes of the same revision of the run, unless the run changes continuously."""
    for _ in range(_MAX_DECISIONS):
        decision = _decide(server, run["run_id"], request)
        changes = read_changes(server, run)
        if decision["revision"] == changes.comparison["revision"] == run["revision"]:
            break
        run = server.get(run_path(run["run_id"]))
    else:
        print_message(
            "warning: the run changes continuously, so its counts can be of another revision than the decision"
        )
    return decision, changes


def _decide(server: Server, run_id: str, request: GateRequest) -> JsonObject:
    path = f"{run_path(run_id)}/decisions"
    first, *fallback = request.bodies()
    try:
        decision: JsonObject = server.post(path, first)
    except ServerError as error:
        if error.code != "not_found" or not fallback:
            raise
        decision = server.post(path, fallback[0])
    return decision


def _print_decision(server: Server, decision: JsonObject, changes: RunChanges) -> None:
    color = "red" if decision["decision"] == "blocked" else "green"
    if missing := describe_missing_parts(decision.get("missing_parts") or (), changes.run.get("parts") or ()):
        print_line(printable_line(missing), bold=True, fg=color)
    print_line(_headline(decision, changes.run), bold=True, fg=color)
    print_line(format_counts(changes.run))
    print_line(printable_line(changes.describe_baseline()))
    for group in changes.groups():
        for line in _format_group(changes, group):
            print_line(line)
    for line in (*_reasons(decision), *_links(server, changes.run)):
        print_line(line)
    if os.environ.get("GITHUB_ACTIONS"):
        for command in annotations(server, changes):
            print_line(command)


def _format_group(changes: RunChanges, group: ResultGroup) -> Iterator[str]:
    yield f"{group.title}: {group.total}"
    for result in group.results:
        yield f"  {printable_line(full_name(result))}"
        for detail in (result["failure_summary"], changes.evidence(result)):
            if detail:
                yield f"    {printable_line(detail)}"
    if group.total > len(group.results):
        yield f"  and {group.total - len(group.results)} more"


def _reasons(decision: JsonObject) -> Iterator[str]:
    """Yield why the run is blocked, and who waived it."""
    for rule in decision["rules"]:
        if not rule["passed"]:
            yield printable_line(describe_rule(rule["rule"], rule["limit"], rule["value"]))
    if decision["waiver"]:
        yield printable_line(f"waived: {decision['waiver']['reason']}")


def _links(server: Server, run: JsonObject) -> Iterator[str]:
    yield f"run      {server.links.run(run['run_id'])}"
    if run.get("ci_url"):
        yield f"ci       {printable_line(run['ci_url'])}"


def _headline(decision: JsonObject, run: JsonObject) -> str:
    name = f" by gate {decision['gate']} version {decision['gate_version']}" if decision["gate"] else ""
    return printable_line(f"{decision['decision']}{name}: run {run['run_id']} ({run['status']})")


def _render_summary(server: Server, decision: JsonObject, changes: RunChanges) -> str:
    reasons = "; ".join(map(code_span, _reasons(decision)))
    title = decision["decision"].capitalize()
    text = render_changes(changes, title, server.links, _MAX_SUMMARY)
    return f"{text}\n{reasons}\n" if reasons else text
