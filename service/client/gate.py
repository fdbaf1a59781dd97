"""The gate: waits for a run, prints its results, and returns the exit code for a CI job."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import click

from service.client.http import Server, ServerError, open_server
from service.client.terminal import append_to_github_file, format_table, ignore_closed_stdout, print_message
from service.domain.failures import to_line
from service.domain.gates import Gate, GateOutcome

PASSED: Final = 0
FAILED: Final = 1
TIMED_OUT: Final = 2

_MAX_WAIT_S: Final = 5  # of one request; then, the receipts are checked
_MAX_REASONS: Final = 3
_MAX_RETRY_S: Final = 60
_PAUSE_S: Final = 0.5
_MAX_SHOWN: Final = 50  # failing results, and flaky results
_FAILING: Final = (("status", "failed"), ("status", "error"))
_FLAKY: Final = (("flaky", "true"),)
_COLUMNS: Final = {"suite": "suite", "case": "name", "status": "status", "failure": "failure_summary"}


@dataclass(frozen=True, slots=True)
class GateSummary:
    """The content of the summary: the run, the outcome of the gate, and the first failing and flaky results."""

    run: dict[str, Any]
    outcome: GateOutcome
    listed: list[dict[str, Any]] = field(default_factory=list)
    has_more: bool = False


def gate(url: str, key: str, run_id: str, rules: Gate, timeout_s: float) -> int:
    """Wait until the run is complete, print its summary, and return the exit code. Raises ServerError."""
    with open_server(url, key, retry_s=min(timeout_s, _MAX_RETRY_S)) as server:
        run, rejection = _wait(server, run_id, timeout_s)
        if run is None or not run["complete"]:
            _print_incomplete(run_id, run, rejection or f"{_state(run)} after {timeout_s:g} s")
            return TIMED_OUT
        summary = _summarize(server, run, rules)
    with ignore_closed_stdout():  # a closed stdout doesn't change the decision
        _print_summary(summary, server.url)
    _write_step_summary(summary, server.url)
    return PASSED if summary.outcome.passes else FAILED


def _wait(server: Server, run_id: str, timeout_s: float) -> tuple[dict[str, Any] | None, str | None]:
    """Return the run when it is complete, or in its state at the end of the wait; None if it doesn't exist.

    The wait ends early if the newest report of the run was rejected, because the run can't become complete without it.
    The second value is the reason.
    """
    deadline = time.monotonic() + timeout_s
    run: dict[str, Any] | None = None
    is_first = True
    while True:
        remaining_s = deadline - time.monotonic()
        wait_s = 0 if is_first else max(0, min(_MAX_WAIT_S, int(remaining_s)))
        run = _get_run(server, run_id, wait_s) or run
        if run and run["complete"]:
            return run, None
        rejection = _find_rejection(server, run_id)
        if rejection or remaining_s <= 0:
            return run, rejection
        if is_first:
            print_message(f"run {run_id} {_state(run)} yet; waiting for up to {remaining_s:.0f} s")
            is_first = False
        else:
            time.sleep(min(_PAUSE_S, remaining_s))


def _get_run(server: Server, run_id: str, wait_s: int) -> dict[str, Any] | None:
    try:
        run: dict[str, Any] = server.get(f"/runs/{quote(run_id, safe='')}", {"wait": str(wait_s)})
    except ServerError as error:
        if error.code != "not_found":
            raise
        return None
    return run


def _find_rejection(server: Server, run_id: str) -> str | None:
    """Return why the newest report of the run was rejected, or None. A key that can't read receipts finds none."""
    try:
        receipts = server.get("/receipts", {"run_id": run_id, "limit": "1"})["data"]
    except ServerError as error:
        if error.code != "forbidden":
            raise
        return None
    if not receipts or receipts[0]["status"] != "rejected":
        return None
    reasons = "; ".join(problem["reason"] for problem in receipts[0]["problems"][:_MAX_REASONS])
    return f"isn't complete, because its report was rejected ({receipts[0]['id']}): {reasons}"


def _summarize(server: Server, run: dict[str, Any], rules: Gate) -> GateSummary:
    outcome = rules.evaluate(run["status"], run["counts"])
    counts = run["counts"]
    failing = _list_results(server, run, _FAILING) if counts["failed"] + counts["error"] else []
    flaky = _list_results(server, run, _FLAKY) if counts["flaky"] and not rules.allow_flaky else []
    expected = counts["failed"] + counts["error"] + (0 if rules.allow_flaky else counts["flaky"])
    return GateSummary(run, outcome, [*failing, *flaky], expected > len(failing) + len(flaky))


def _list_results(server: Server, run: dict[str, Any], filters: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = server.get(
        "/results", [("run_id", run["run_id"]), *filters, ("limit", str(_MAX_SHOWN))]
    )["data"]
    return results


def _print_summary(summary: GateSummary, url: str) -> None:
    click.secho(_headline(summary), bold=True, fg="green" if summary.outcome.passes else "red")
    click.echo(_format_counts(summary.run))
    if summary.listed:
        rows = [[_cell(result, name) for name in _COLUMNS.values()] for result in summary.listed]
        for line in format_table([tuple(_COLUMNS), *rows]):
            click.echo(line)
    if summary.has_more:
        click.echo("… and more")
    links = (f"{name:<8} {link}" for name, link in _links(summary.run, url).items())
    for line in (*summary.outcome.reasons, *links):
        click.echo(line)


def _state(run: dict[str, Any] | None) -> str:
    return "isn't complete" if run else "doesn't exist"


def _print_incomplete(run_id: str, run: dict[str, Any] | None, reason: str) -> None:
    click.secho(to_line(f"run {run_id} {reason}"), err=True, bold=True, fg="yellow")
    if run:
        click.echo(_format_counts(run))


def _write_step_summary(summary: GateSummary, url: str) -> None:
    """Write the summary to the page of the GitHub Actions job, if this process is part of one."""
    append_to_github_file("GITHUB_STEP_SUMMARY", "\n".join(_format_markdown(summary, url)))


def _format_markdown(summary: GateSummary, url: str) -> list[str]:
    links = (f"[{name}]({link})" for name, link in _links(summary.run, url).items())
    lines = [f"### {_escape(_headline(summary))}", "", " · ".join([_format_counts(summary.run), *links]), ""]
    if summary.listed:
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
        for result in summary.listed:
            lines.append(f"| {' | '.join(_escape(_cell(result, name)) for name in _COLUMNS.values())} |")
    return [*lines, "", *(f"- {_escape(reason)}" for reason in summary.outcome.reasons), ""]


def _links(run: dict[str, Any], url: str) -> dict[str, str]:
    quoted = quote(run["run_id"], safe="")
    links = {"run": f"{url}/v1/runs/{quoted}", "results": f"{url}/v1/results?run_id={quoted}"}
    return links | ({"ci": to_line(run["ci_url"])} if run.get("ci_url") else {})


def _headline(summary: GateSummary) -> str:
    decision = "passed" if summary.outcome.passes else "blocked"
    suffix = " with allowed failures" if summary.outcome.passes and summary.outcome.reasons else ""
    return to_line(f"{decision}{suffix}: run {summary.run['run_id']} ({summary.run['status']})")


def _format_counts(run: dict[str, Any]) -> str:
    counted = [f"{count} {name}" for name, count in run["counts"].items() if count]
    return ", ".join(counted) or "no results"


def _cell(result: dict[str, Any], name: str) -> str:
    """Return a field as one line that is safe to print. The status of a flaky result is flaky."""
    value = "flaky" if name == "status" and result["flaky"] else result[name]
    return to_line(str(value or ""))


def _escape(text: str) -> str:
    """Escape the characters that have a meaning in Markdown or in a cell of a table."""
    escaped = text.replace("\\", "\\\\")
    for mark in "|`*_<>[]":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
