"""The gate: waits for a run, says how it went, and passes or does not."""

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rich.table import Table

from service.client.http import Server, ServerError, open_server
from service.client.terminal import console
from service.domain.gates import Gate, Verdict

PASSED: Final = 0
FAILED: Final = 1
TIMED_OUT: Final = 2

_LONGEST_WAIT_S: Final = 20  # of one request
_PAUSE_S: Final = 0.5
_SHOWN: Final = 50  # failing results
_COUNTED: Final = ("passed", "failed", "error", "skipped", "canceled", "flaky")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a gate decided, and all that its summary shows."""

    run: dict[str, Any]
    verdict: Verdict
    failing: list[dict[str, Any]] = field(default_factory=list)
    more: bool = False


async def gate(url: str, key: str, run_id: str, rules: Gate, timeout_s: float) -> int:
    """Waits until the run is complete, prints what came of it and returns the exit code."""
    async with open_server(url, key, patience_s=min(timeout_s, 60)) as server:
        run = await _wait(server, run_id, timeout_s)
        if run is None or not run["complete"]:
            _say_timed_out(run_id, run, timeout_s)
            return TIMED_OUT
        outcome = await _judge(server, run, rules)
    with contextlib.suppress(SystemExit):  # of the console, where nobody reads on: that changes no verdict
        _print(outcome, server.url)
    _write_step_summary(outcome, server.url)
    return PASSED if outcome.verdict.passes else FAILED


async def _wait(server: Server, run_id: str, timeout_s: float) -> dict[str, Any] | None:
    """The run as soon as it is complete, or as it is at the end of the time; None where it never came."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    run: dict[str, Any] | None = None
    told = False
    while True:
        left_s = deadline - loop.time()
        wait_s = max(0, min(_LONGEST_WAIT_S, int(left_s))) if told else 0
        try:
            run = await server.get(f"/runs/{quote(run_id, safe='')}", {"wait": str(wait_s)})
        except ServerError as error:
            if error.code != "not_found":
                raise
        if (run and run["complete"]) or left_s <= 0:
            return run
        if told:
            await asyncio.sleep(min(_PAUSE_S, max(left_s, 0)))
        else:
            told = _say_waiting(run_id, run, left_s)


async def _judge(server: Server, run: dict[str, Any], rules: Gate) -> Outcome:
    verdict = rules.judge(run["status"], run["counts"])
    failures = run["counts"]["failed"] + run["counts"]["error"]
    if not failures:
        return Outcome(run, verdict)
    wanted = [("run_id", run["run_id"]), ("status", "failed"), ("status", "error"), ("limit", str(_SHOWN))]
    failing = (await server.get("/results", wanted))["data"]
    return Outcome(run, verdict, failing, failures > len(failing))


def _print(outcome: Outcome, url: str) -> None:
    out = console()
    out.print(_headline(outcome), style="bold green" if outcome.verdict.passes else "bold red")
    out.print(_counts(outcome.run))
    if outcome.failing:
        table = Table(box=None, pad_edge=False)
        for column in ("suite", "case", "status", "failure"):
            table.add_column(column, overflow="fold")
        for result in outcome.failing:
            table.add_row(*(_cell(result, name) for name in ("suite", "name", "status", "failure_summary")))
        out.print(table)
    if outcome.more:
        out.print("… and more")
    links = (f"{name:<8} {link}" for name, link in _links(outcome.run, url).items())
    for line in (*outcome.verdict.reasons, *links):
        out.print(line)


def _say_waiting(run_id: str, run: dict[str, Any] | None, left_s: float) -> bool:
    state = "is not complete yet" if run else "has not come yet"
    console(stderr=True).print(f"run {run_id} {state}; waiting for up to {left_s:.0f} s")
    return True


def _say_timed_out(run_id: str, run: dict[str, Any] | None, timeout_s: float) -> None:
    state = "is not complete" if run else "has not come"
    console(stderr=True).print(f"run {run_id} {state} after {timeout_s:g} s", style="bold yellow")
    if run:
        console().print(_counts(run))


def _write_step_summary(outcome: Outcome, url: str) -> None:
    """Shows the same on the page of a GitHub job, where this runs in one."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    links = (f"[{name}]({link})" for name, link in _links(outcome.run, url).items())
    lines = [f"### {_markdown(_headline(outcome))}", "", " · ".join([_counts(outcome.run), *links]), ""]
    if outcome.failing:
        lines += ["| suite | case | status | failure |", "| --- | --- | --- | --- |"]
        for result in outcome.failing:
            cells = (_markdown(_cell(result, name)) for name in ("suite", "name", "status", "failure_summary"))
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {_markdown(reason)}" for reason in outcome.verdict.reasons), ""]
    try:
        with Path(target).open("a", encoding="utf-8") as summary:
            summary.write("\n".join(lines))
    except OSError as error:
        console(stderr=True).print(f"GITHUB_STEP_SUMMARY can't be written: {error}")


def _links(run: dict[str, Any], url: str) -> dict[str, str]:
    named = quote(run["run_id"], safe="")
    links = {"run": f"{url}/v1/runs/{named}", "results": f"{url}/v1/results?run_id={named}"}
    return links | ({"ci": run["ci_url"]} if run.get("ci_url") else {})


def _headline(outcome: Outcome) -> str:
    verdict = "passed" if outcome.verdict.passes else "refused"
    allowing = " with failures that are allowed" if outcome.verdict.passes and outcome.verdict.reasons else ""
    return f"{verdict}{allowing}: run {outcome.run['run_id']} ({outcome.run['status']})"


def _counts(run: dict[str, Any]) -> str:
    counted = [f"{run['counts'][name]} {name}" for name in _COUNTED if run["counts"][name]]
    return ", ".join(counted) or "no results"


def _cell(result: dict[str, Any], name: str) -> str:
    return " ".join(str(result[name] or "").split())


def _markdown(text: str) -> str:
    """Text that stays text in a table."""
    escaped = text.replace("\\", "\\\\")
    for mark in "|`*_<>[]":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
