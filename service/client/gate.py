"""The gate: waits for runs, requests a decision about each, prints the evidence, and returns the exit code."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from service.client.annotations import annotate
from service.client.changes import RunChanges, read_changes
from service.client.checkout import RepositoryPaths
from service.client.gate_outcomes import GateOutcome, RunOutcome
from service.client.gate_texts import (
    describe_gate,
    describe_outputs,
    format_document,
    list_problems,
    print_styled,
    render_summary,
)
from service.client.http import ClientError, ConsoleLinks, JsonObject, Server, ServerError
from service.client.job_outputs import write_outputs
from service.client.pipelines import AwaitedRuns, MissingProject, await_runs, describe_absence, find_missing_projects
from service.client.runs import AwaitedRun, Deadline, list_receipts, print_problem, run_path
from service.client.selections import AbsentJobs, Selection
from service.client.servers import ServerKey, open_servers, server_of
from service.client.terminal import append_to_github_file, ignore_closed_stdout, print_message
from service.command_line import print_line
from service.receipts.model import report_warnings

_MAX_RETRY_S: Final = 60
_MAX_DECISIONS: Final = 3  # while the run changes
_DEFAULT_GATE: Final = "default"
_DEFAULT_POLICY: Final = {"max_failures": 0}


class GateRequest(NamedTuple):
    """The rules of a decision, and the jobs that can be missing or were canceled.

    `rules` names a gate or contains a policy, as in the request of a decision. Without both, the gate `default` decides
    if it exists, or else any failure blocks. A policy blocks missing parts, and its decision is recorded.
    """

    rules: JsonObject
    absent: AbsentJobs = AbsentJobs()

    @property
    def limits(self) -> str:
        """The options that state limits, or an empty text."""
        limits = self.rules.get("policy", {}).items()
        return " ".join(f"--{name.replace('_', '-')} {str(limit).removesuffix('.0')}" for name, limit in limits)

    def bodies(self) -> Iterator[JsonObject]:
        """Yield the requests to send, each if the gate of the previous one doesn't exist."""
        allowed = {"allow_missing_parts": list(self.absent.allowed)} if self.absent.allowed else {}
        if "gate" in self.rules:
            yield {**self.rules, **allowed}
            return
        if not self.rules:
            yield {"gate": _DEFAULT_GATE, **allowed}
        policy = {"max_missing_parts": 0, **self.rules.get("policy", _DEFAULT_POLICY)}
        yield {"policy": policy, "record": True, **allowed}


@dataclass(frozen=True, slots=True)
class GateOutput:
    """How the gate prints decisions. With `as_json`, stdout contains one JSON document, and the text is on stderr."""

    as_json: bool = False
    paths: RepositoryPaths = field(default_factory=RepositoryPaths)


def gate(
    url: str, key: ServerKey, selection: Selection, request: GateRequest, timeout_s: float, output: GateOutput
) -> int:
    """Wait until the runs are complete, print the decisions, and return the exit code. Raises ClientError.

    The client completes the runs of a pipeline first. An error about one of its runs doesn't prevent other decisions.
    """
    deadline = Deadline.after(timeout_s)
    with open_servers(url, key, min(timeout_s, _MAX_RETRY_S), selection.project) as servers:
        awaited = await_runs(servers, selection, deadline, completes=selection.pipeline is not None)
        outcome = _decide_runs(servers, selection, awaited, request)
        links = servers[0].links
    if not awaited.runs:
        print_message(f"{describe_absence(selection)} after {timeout_s:g} s: no report of it was received")
    with ignore_closed_stdout():  # a closed stdout doesn't change the decision
        _print_outcome(outcome, links, output)
    append_to_github_file("GITHUB_STEP_SUMMARY", render_summary(outcome, links, output.paths))
    write_outputs(describe_outputs(outcome, links), prints=not output.as_json)
    return outcome.exit_code


def _print_outcome(outcome: GateOutcome, links: ConsoleLinks, output: GateOutput) -> None:
    print_styled(describe_gate(outcome, links), err=output.as_json)
    for warning in chain.from_iterable(run.warnings for run in outcome.runs):
        print_message(f"warning: {warning}")
    if os.environ.get("GITHUB_ACTIONS"):  # which executes commands of both streams
        runs, problems = list(outcome.compared()), list_problems(outcome)
        for command in annotate(runs, problems, links, output.paths):
            print_line(command, err=output.as_json)
    if output.as_json:
        print_line(format_document(outcome, links))


def _decide_runs(
    servers: Sequence[Server], selection: Selection, awaited: AwaitedRuns, request: GateRequest
) -> GateOutcome:
    """Return the decisions about all runs, and the projects that sent no results. Prints errors."""
    problems = [awaited.problem] if awaited.problem else []
    runs = [_decide_run(servers, selection, run, request) for run in awaited.runs]
    outcome = GateOutcome(selection, runs, limits=request.limits)
    missing: Sequence[MissingProject] = ()
    try:
        changes, projects = list(outcome.compared()), outcome.projects
        missing = find_missing_projects(servers, selection, changes, projects, request.absent)
    except ClientError as error:
        problems.append(f"projects that sent no results are unknown: {error}")
    for problem in problems:
        print_message(f"Error: {problem}")
    return outcome._replace(missing_projects=missing, problems=problems)


def _decide_run(
    servers: Sequence[Server], selection: Selection, awaited: AwaitedRun, request: GateRequest
) -> RunOutcome:
    """Return the decision about a run at the end of the wait, or the problem that prevents it."""
    run_id, run, problem, is_error = awaited
    if is_error:
        return _report_error(selection, awaited)
    if run is None or problem:
        print_problem(awaited)
        return RunOutcome(run_id, run, problem=problem)
    try:
        _check_project(selection, run)
        server = server_of(servers, run["project_id"])
        decision, changes = _decide_and_compare(server, run, request)
        warnings = list(report_warnings(list_receipts(server, run_id)))
    except ClientError as error:
        return _report_error(selection, awaited._replace(problem=str(error)))
    return RunOutcome(run_id, changes.run, decision, changes, warnings=warnings)


def _report_error(selection: Selection, failed: AwaitedRun) -> RunOutcome:
    named = f"run {failed.run_id}: " if selection.pipeline else ""
    print_message(f"Error: {named}{failed.problem}")
    return RunOutcome(failed.run_id, failed.run, problem=failed.problem, is_error=True)


def _check_project(selection: Selection, run: JsonObject) -> None:
    if selection.project not in (None, run["project_id"]):
        raise ClientError(f"--project: run {run['run_id']} is one of project {run['project_id']}")


def _decide_and_compare(server: Server, run: JsonObject, request: GateRequest) -> tuple[JsonObject, RunChanges]:
    """Return a decision and the changes of the same revision of the run, unless the run changes continuously."""
    for _ in range(_MAX_DECISIONS):
        decision = _decide(server, run["run_id"], request)
        changes = read_changes(server, run, request.absent.canceled)
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
        return _request_decision(server, path, first)
    except ServerError as error:
        if error.code != "not_found" or not fallback:
            raise
        return _request_decision(server, path, fallback[0])


def _request_decision(server: Server, path: str, body: JsonObject) -> JsonObject:
    """Return a decision. It's a dry run if a server of an earlier version refuses to record it."""
    try:
        decision: JsonObject = server.post(path, body)
    except ServerError as error:
        if "record" not in body or not _prevents_recording(error):
            raise
        decision = server.post(path, {name: value for name, value in body.items() if name != "record"})
    return decision


def _prevents_recording(error: ServerError) -> bool:
    return error.code == "forbidden" or (error.status == 400 and str(error).startswith("record"))
