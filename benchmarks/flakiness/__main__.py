"""Compare rules for flaky and broken tests on labeled histories, side by side.

    python -m benchmarks.flakiness [--seed N …] [--cases 1000] [--runs 500] [--failures 300] [--runs-per-day 12]
                                   [--json] [--write]

The first table contains for each rule:

- the F1 of the states after the last run: its mean over the three states (macro F1) of all cases, and of the cases
  whose true state hasn't changed for 20 runs; and each state
- the median number of results until a new flake of 10 % is found, and the share that is found within 60 results, of
  the cases that the rule didn't call flaky before
- the median number of failures until a break after 100 passes is found, and the share that is found within 2 failures
- the cases and outages with another state than without the outage
- the broken tests that an automatic quarantine excuses
- the share of wrong *new* (a flake or a known break blames the author), and of wrong *flaky* (a real regression is
  excused), among failures of pull requests: the mean of the strata in the second table

`--write` replaces the tables of docs/flakiness.md.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.flakiness.histories import RUNS_PER_DAY, STATES, generate
from benchmarks.flakiness.measures import Measures, combine, measure
from benchmarks.flakiness.ours import CurrentRules, OldRules
from benchmarks.flakiness.pulls import STRATA, generate_failures
from benchmarks.flakiness.rules import Rule
from benchmarks.flakiness.vendors import vendor_rules

_PAGE: Final = Path(__file__).parents[2] / "docs" / "flakiness.md"
_TABLES: Final = re.compile(r"(?<=<!-- tables of benchmarks.flakiness -->\n).*(?=<!-- end of tables -->)", re.DOTALL)
_HEADER: Final = (
    "rule",
    "macro F1",
    "settled",
    "healthy · flaky · broken",
    "10 % flake: runs",
    "≤ 60 runs",
    "break: failures",
    "≤ 2 failures",
    "changed by outages",
    "broken quarantined",
    "wrong new",
    "wrong flaky",
)


def main() -> None:
    """Generate the histories, measure each rule, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3], help="default: 1 2 3; about 10 s each")
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=500, help="at least 200")
    parser.add_argument("--runs-per-day", type=float, default=RUNS_PER_DAY, help="for rules whose windows are times")
    parser.add_argument("--failures", type=int, default=300, help="failures of pull requests per stratum")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help=f"replace the tables of {_PAGE.name}")
    chosen = parser.parse_args()
    if chosen.runs < 200 or chosen.cases < 1 or chosen.runs_per_day <= 0:
        parser.error("--runs must be at least 200, --cases at least 1, and --runs-per-day positive")
    by_seed = [compare(seed, chosen.cases, chosen.runs, chosen.failures, chosen.runs_per_day) for seed in chosen.seed]
    measured = {name: combine([of_seed[name] for of_seed in by_seed]) for name in by_seed[0]}
    options = {name: value for name, value in vars(chosen).items() if name not in {"json", "write"}}
    document = {**options, "rules": {name: measures.to_json() for name, measures in measured.items()}}
    tables = "\n\n".join(_tables(measured))
    if chosen.write:
        page = _PAGE.read_text(encoding="utf-8")
        _PAGE.write_text(_TABLES.sub(lambda _: f"\n{_options(chosen)}\n\n{tables}\n\n", page), encoding="utf-8")
    print(_dump(document) if chosen.json else tables)


def all_rules() -> list[Rule]:
    """Return the compared rules, ours first."""
    return [CurrentRules(), OldRules(), *vendor_rules()]


def compare(seed: int, cases: int, runs: int, failures: int, runs_per_day: float = RUNS_PER_DAY) -> dict[str, Measures]:
    """Return the measures by the name of the rule. Each rule is deleted before the next one, with its memory."""
    branch = generate(seed, cases, runs, runs_per_day=runs_per_day)
    labeled = generate_failures(branch, seed, failures)
    measured: dict[str, Measures] = {}
    rules = all_rules()
    while rules:
        rule = rules.pop(0)
        print(f"seed {seed}: {rule.name} …", file=sys.stderr, flush=True)
        measured[rule.name] = measure(rule, branch, labeled)
    return measured


def _options(chosen: argparse.Namespace) -> str:
    seeds = " ".join(map(str, chosen.seed))
    return (
        f"Seeds {seeds}; {chosen.cases:,} cases × {chosen.runs} runs, {chosen.runs_per_day:g} runs per day, and up to"
        f" {chosen.failures} failures of pull requests per column of the second table and seed."
    )


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _tables(measured: dict[str, Measures]) -> list[str]:
    rows = [_row(name, measures) for name, measures in measured.items()]
    strata = [
        (name, *(f"{measures.wrong_by_stratum[stratum]:.1%}" for stratum in STRATA))
        for name, measures in measured.items()
    ]
    return [_markdown([_HEADER, *rows]), _markdown([("wrong causes", *STRATA), *strata])]


def _row(name: str, measures: Measures) -> tuple[str, ...]:
    quarantined = measures.broken_quarantined
    return (
        name,
        f"{measures.macro_f1:.3f}",
        f"{measures.macro_f1_settled:.3f}",
        " · ".join(f"{measures.f1[state]:.2f}" for state in STATES),
        _count(measures.flake_median_runs),
        f"{measures.flake_found:.0%}",
        _count(measures.break_median_failures),
        f"{measures.break_found:.0%}",
        f"{measures.outage_changes} of {measures.outage_cases}",
        "–" if quarantined is None else f"{quarantined} of {measures.breaks}",
        f"{measures.wrong_new:.1%}",
        f"{measures.wrong_flaky:.1%}",
    )


def _count(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "never"


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    main()
