"""A check of the dashboard and the alert rules against a running Prometheus, which has scraped the service.

    python -m tests.docs.dashboard wait http://127.0.0.1:9090
    python -m tests.docs.dashboard check http://127.0.0.1:9090 [FIRING_ALERT…]

`wait` returns when every target has been scraped, because a rate needs a sample from before the traffic. `check` fails
unless every expression is valid, every panel shows a number, and exactly the named alerts fire.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

DASHBOARD: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "zof-results.json"
RATE_INTERVAL: Final = "1m"
TIMEOUT_S: Final = 60.0
SHOWS_ONLY_FAILURES: Final = {"Failed maintenance tasks"}


def fetch(server: str, path: str) -> Any:
    with urlopen(f"{server}/api/v1/{path}", timeout=10) as response:
        return json.load(response)["data"]


def numbers(server: str, expression: str) -> list[float]:
    """Return the values of an expression. An invalid expression raises HTTPError."""
    found = fetch(server, f"query?{urlencode({'query': expression})}")["result"]
    values = (float(series["value"][1]) for series in found)
    return [value for value in values if not math.isnan(value)]


def panel_problems(server: str) -> list[str]:
    """Evaluate the expressions of each panel, and return those that show no number."""
    problems = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
            if not numbers(server, expression) and panel["title"] not in SHOWS_ONLY_FAILURES:
                problems.append(f"panel without a number: {panel['title']}: {expression}")
    return problems


def alert_problems(server: str, expected: set[str]) -> list[str]:
    """Return the rules that Prometheus can't evaluate, and the differences to the alerts that must fire."""
    rules = [rule for group in fetch(server, "rules")["groups"] for rule in group["rules"]]
    failed = [f"{rule['name']}: {rule.get('lastError') or rule['health']}" for rule in rules if rule["health"] != "ok"]
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    return [
        *failed,
        *(["Prometheus has no alert rules"] if not rules else []),
        *(f"doesn't fire: {name}" for name in expected - firing),
        *(f"fires: {name}" for name in firing - expected),
    ]


def wait_until_scraped(server: str) -> None:
    """Wait until Prometheus has read the metrics of all targets. Raises TimeoutError."""
    ends_at = time.monotonic() + TIMEOUT_S
    while not has_scraped(server):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{server} hasn't scraped all targets within {TIMEOUT_S:.0f} s")
        time.sleep(0.2)


def has_scraped(server: str) -> bool:
    try:
        targets = fetch(server, "targets")["activeTargets"]
    except OSError:  # Prometheus starts
        return False
    return bool(targets) and all(target["health"] == "up" for target in targets)


def main() -> None:
    command, server, *expected = sys.argv[1:]
    if command == "wait":
        wait_until_scraped(server)
    elif problems := [*panel_problems(server), *alert_problems(server, set(expected))]:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
