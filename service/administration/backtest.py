"""The command `backtest`."""

import sys
from collections.abc import Callable
from typing import Final

import click
import orjson

from service.administration.running import organization_option, run_with_connection
from service.command_line import IntegerRange, print_line
from service.comparison.backtest import Backtest, JudgedRuns, find_replayed, replay
from service.database.database import Connection
from service.organizations.operations import find_organization

_ROWS: Final[dict[str, Callable[[JudgedRuns], int]]] = {
    "new failures": lambda judged: judged.new,
    "flaky failures": lambda judged: judged.flaky,
    "known failures": lambda judged: judged.known,
    "blocked runs": lambda judged: judged.blocked,
    "blocked pull requests": lambda judged: len(judged.blocked_last),
    "excused failures": lambda judged: judged.excused,
    "excused, were real": lambda judged: judged.real,
    "excused, unverified": lambda judged: judged.unverified,
}


@click.command("backtest")
@organization_option
@click.option("--project", "project_id", metavar="PROJECT", help="Replay only the runs of this project.")
@click.option(
    "--days", default=30, show_default=True, type=IntegerRange(1, 3_650), metavar="N",
    help="Replay the runs of this many days before the newest run.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backtest_command(organization: str, project_id: str | None, days: int, as_json: bool) -> None:
    """Compare the rules for failures with those of version 0.10.

    Operators run this command: it uses the database instead of the API, and only reads.

    It judges the failures of stored runs of pull requests again, without quarantines. A run with a new failure is
    blocked. An excused failure is one that the rules call flaky in the last run of a pull request. As an estimate, it
    was real if its case failed in all attempts in the next run of the base branch.
    """

    async def work(connection: Connection) -> Backtest:
        org_id = await find_organization(connection, organization)
        runs = await find_replayed(connection, org_id, project_id, days)
        with click.progressbar(
            length=len(runs), label="replaying", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            return await replay(connection, org_id, runs, lambda: bar.update(1))

    backtest = run_with_connection(work)
    if as_json:
        print_line(orjson.dumps(backtest.to_json()).decode())
        return
    _print_table(backtest)


def _print_table(backtest: Backtest) -> None:
    print_line(f"failing runs of pull requests: {backtest.runs} compared, {backtest.not_compared} not compared")
    print_line(f"{'':24}  {'0.10':>8}  {'now':>8}")
    for label, read in _ROWS.items():
        print_line(f"{label:24}  {read(backtest.before):8,}  {read(backtest.now):8,}")
    for (before, now), count in sorted(backtest.changed.items()):
        print_line(f"{before} before, {now} now: {count:,}")
    would_pass = len(backtest.before.blocked_last - backtest.now.blocked_last)
    would_block = len(backtest.now.blocked_last - backtest.before.blocked_last)
    print_line(f"pull requests by their last run: {would_pass} would pass now, and {would_block} would be blocked now")
