"""The command `backtest`: sums up what two versions of the rules did to the stored runs of pull requests."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from service.client.arguments import POLICY_EXAMPLE, check_policy, project_option, server_options
from service.client.terminal import show_progress, to_json
from service.command_line import CheckedText, IntegerRange, print_line

if TYPE_CHECKING:
    from service.client.http import JsonObject, Server
    from service.client.policy_replay import PolicyReplay
    from service.client.servers import ServerKey

_RULES: Final = ("version_2", "current")
_ROWS: Final = {
    "new failures": "new_failures",
    "flaky failures": "flaky_failures",
    "known failures": "known_failures",
    "blocked runs": "blocked_runs",
    "blocked pull requests": "blocked_pull_requests",
    "excused failures": "excused_failures",
    "excused, were real": "excused_real",
    "excused, unverified": "excused_unverified",
}
_PERCENT: Final = 100


@dataclass
class BacktestSums:
    """The sums of replayed runs. A run with a new failure is blocked, and a pull request with its last run."""

    runs: int = 0
    not_compared: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {rules: Counter() for rules in _RULES})
    blocked: dict[str, set[str]] = field(default_factory=lambda: {rules: set() for rules in _RULES})

    def add(self, run: "JsonObject") -> None:
        """Add a replayed run of the API."""
        self.runs += run["compared"]
        self.not_compared += not run["compared"]
        self.changed.update({(each["before"], each["now"]): each["failures"] for each in run["changed"]})
        for rules in _RULES:
            self.counts[rules].update(run[rules])
            if run[rules]["new_failures"]:
                self.counts[rules]["blocked_runs"] += 1
                if run["is_last"]:
                    self.counts[rules]["blocked_pull_requests"] += 1
                    self.blocked[rules].add(run["run_id"])

    def to_json(self) -> "JsonObject":
        """Return the sums as one JSON object."""
        before, now = (self.blocked[rules] for rules in _RULES)
        return {
            "runs": self.runs,
            "not_compared": self.not_compared,
            "changed": [
                {"before": old, "now": new, "failures": count} for (old, new), count in sorted(self.changed.items())
            ],
            "rules": {rules: {name: self.counts[rules][name] for name in _ROWS.values()} for rules in _RULES},
            "pull_requests_that_would_pass": sorted(before - now),
            "pull_requests_that_would_be_blocked": sorted(now - before),
        }


@click.command()
@server_options
@project_option(help_text="Project of the runs.", required=True)
@click.option(
    "--days", default=90, show_default=True, type=IntegerRange(1, 3_650), metavar="N",
    help="Replay the runs of this many days before the newest run.",
)  # fmt: skip
@click.option(
    "--auto-quarantine", "policy", type=CheckedText(check_policy, "POLICY"),
    help=f"Also replay this policy of automatic quarantine, for example {POLICY_EXAMPLE}.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def backtest(url: str, key: "ServerKey", project_id: str | None, days: int, policy: str | None, as_json: bool) -> None:
    """Compare the rules for failures with those of version 0.10.

    It judges the failures of stored runs of pull requests again, without quarantines. A run with a new failure is
    blocked. An excused failure is one that the rules call flaky in the last run of a pull request. As an estimate, it
    was real if its case failed in all attempts in the next run of the base branch.

    Exit codes: 0 for success; 1 if the project doesn't exist, or the server rejects a request or doesn't respond; 2 if
    an option is invalid.
    """
    from service.client.servers import open_server  # only when a request is sent, because it is slow

    found, replay = BacktestSums(), None
    with open_server(url, key) as server:
        if policy is not None:
            replay = _replay_policy(server, project_id, days, policy)
        for page in _read_pages(server, project_id, days, "backtest"):
            for run in page["data"]:
                found.add(run)
                if replay is not None:
                    replay.add_failures(run)
    counts = {} if replay is None else replay.counts
    if as_json:
        print_line(to_json(found.to_json() | ({"auto_quarantine": counts} if counts else {})))
        return
    _print_table(found)
    for name, count in counts.items():
        print_line(f"automatic quarantine, {name.replace('_', ' ')}: {count:,}")


def _replay_policy(server: "Server", project_id: str | None, days: int, policy: str) -> "PolicyReplay | None":
    from service.client.policy_replay import PolicyReplay
    from service.quarantines.model import QuarantinePolicy

    replay = None
    for page in _read_pages(server, project_id, days, "backtest", "states"):
        replay = replay or PolicyReplay(QuarantinePolicy.parse(policy), page["executed"])
        for run in page["data"]:
            replay.apply(run)
    return replay


def _read_pages(server: "Server", project_id: str | None, days: int, *path: str) -> Iterator["JsonObject"]:
    from service.client.commands.requests import resource_path

    cursor: list[tuple[str, str]] = []
    with show_progress("replaying", _PERCENT) as progress:
        url = resource_path("projects", project_id or server.project or "", *path)
        while True:
            page: Any = server.get(url, [("days", str(days)), *cursor])
            progress.set_position(int(page["progress"] * _PERCENT))
            yield page
            if not page["has_more"]:
                return
            cursor = [("starting_after", page["next_cursor"])]


def _print_table(found: BacktestSums) -> None:
    print_line(f"failing runs of pull requests: {found.runs} compared, {found.not_compared} not compared")
    print_line(f"{'':24}  {'0.10':>8}  {'now':>8}")
    document = found.to_json()
    before, now = (document["rules"][rules] for rules in _RULES)
    for label, name in _ROWS.items():
        print_line(f"{label:24}  {before[name]:8,}  {now[name]:8,}")
    for change in document["changed"]:
        print_line(f"{change['before']} before, {change['now']} now: {change['failures']:,}")
    passing, blocked = (document[f"pull_requests_that_would_{verb}"] for verb in ("pass", "be_blocked"))
    print_line(
        f"pull requests by their last run: {len(passing)} would pass now, and {len(blocked)} would be blocked now"
    )
