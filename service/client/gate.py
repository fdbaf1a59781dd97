"""The gate: waits for a run, says how it went, and passes or does not."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from service.client.http import Server, ServerError, open_server
from service.domain.gates import Gate

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
    refusals: list[str]
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
    _print(outcome, url.rstrip("/"))
    _write_step_summary(outcome, url.rstrip("/"))
    return FAILED if outcome.refusals else PASSED


async def _wait(server: Server, run_id: str, timeout_s: float) -> dict[str, Any] | None:
    """The run as soon as it is complete, or as it is at the end of the time; None where it never came."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    run: dict[str, Any] | None = None
    while True:
        left_s = deadline - loop.time()
        wait_s = max(0, min(_LONGEST_WAIT_S, int(left_s)))
        try:
            run = await server.get(f"/runs/{quote(run_id, safe='')}", {"wait": str(wait_s)})
        except ServerError as error:
            if error.status != 404:
                raise
        if (run and run["complete"]) or left_s <= 0:
            return run
        await asyncio.sleep(min(_PAUSE_S, max(left_s, 0)))


async def _judge(server: Server, run: dict[str, Any], rules: Gate) -> Outcome:
    refusals = rules.refusals(run["status"], run["counts"])
    failures = run["counts"]["failed"] + run["counts"]["error"]
    if not failures:
        return Outcome(run, refusals)
    wanted = [("run_id", run["run_id"]), ("status", "failed"), ("status", "error"), ("limit", str(_SHOWN))]
    failing = (await server.get("/results", wanted))["data"]
    return Outcome(run, refusals, failing, failures > len(failing))


def _print(outcome: Outcome, url: str) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(_headline(outcome), style="bold red" if outcome.refusals else "bold green")
    console.print(_counts(outcome.run))
    if outcome.failing:
        table = Table("suite", "case", "status", "failure", box=None, pad_edge=False)
        for result in outcome.failing:
            table.add_row(*(_cell(result, name) for name in ("suite", "name", "status", "failure_summary")))
        console.print(table)
    if outcome.more:
        console.print("… and more")
    links = (f"{name:<8} {link}" for name, link in _links(outcome.run, url).items())
    for line in (*outcome.refusals, *links):
        console.print(line)


def _say_timed_out(run_id: str, run: dict[str, Any] | None, timeout_s: float) -> None:
    state = "is not complete" if run else "has not come"
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
        f"run {run_id} {state} after {timeout_s:g} s", style="bold yellow"
    )
    if run:
        Console(soft_wrap=True, highlight=False, markup=False).print(_counts(run))


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
    lines += ["", *(f"- {_markdown(refusal)}" for refusal in outcome.refusals), ""]
    with Path(target).open("a", encoding="utf-8") as summary:
        summary.write("\n".join(lines))


def _links(run: dict[str, Any], url: str) -> dict[str, str]:
    named = quote(run["run_id"], safe="")
    links = {"run": f"{url}/v1/runs/{named}", "results": f"{url}/v1/results?run_id={named}"}
    return links | ({"ci": run["ci_url"]} if run.get("ci_url") else {})


def _headline(outcome: Outcome) -> str:
    return f"{'refused' if outcome.refusals else 'passed'}: run {outcome.run['run_id']} ({outcome.run['status']})"


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
