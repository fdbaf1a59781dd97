"""Random events: each field has few values, so that combinations of filters match some runs and results."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

PROJECTS: Final = ["shop", "blog", "Größe_2 100%"]
BRANCHES: Final = ["main", "main", "main", "next", "feature/ü#1", None]
ENVIRONMENTS: Final = ["staging", "production", None]
COMMITS: Final = ["c0ffee1" + "0" * 33, "c0ffee1" + "7" * 33, "beef" * 10, None]
LABELS: Final[list[dict[str, str]]] = [{}, {"team": "web"}, {"team": "web", "tier": 'q"\\'}, {"team": "app"}]
VARIANTS: Final = [None, {"os": "linux"}, {"os": "macos"}, {"os": "linux", "python": "3.13"}]
SUITES: Final = ["auth", "pay.card", "", "Größe_2", "a\u2028b\U0001f600"]
NAMES: Final = ["logs in", "Case 1%", "case_2", "ünïcode \u202e<b>&amp;", "tab\tand \x1b[31mred", "\U0001f600" * 40]
CASE_IDS: Final = [None, None, None, "tc_1", "tc_2", "tc_3"]
STATUSES: Final = ["passed"] * 12 + ["failed", "failed", "error", "skipped", "canceled"]
MESSAGES: Final = [
    "expected 200 got 503", "timeout after 30 s\nin checkout", "\x00\x1b[31mred\x1b[0m", "no such element: #pay",
    "x" * 5_000, "\U0001f4a5 größer", None,
]  # fmt: skip
RUNS: Final = 1_600
MONTHS: Final = 8
_LARGE: Final = {450: 3_400, 1250: 3_600, 1590: 3_200}  # results by number of the run
_LONG_NAMES: Final = 755  # the number of a run whose results don't fit into one page
_SEED: Final = 26


def events() -> Iterator[dict[str, Any]]:
    """Yield the events of all runs, oldest first, and those of another organization."""
    rng = random.Random(_SEED)
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30 * MONTHS)
    step = timedelta(days=30 * MONTHS) / RUNS
    for number in range(RUNS):
        yield from _events_of_run(rng, number, start + step * (number - number % 5))  # some complete at the same time
    for number in range(30):
        yield _event(f"other-{number}", "other", _run(rng, number, start), _results(rng, 5))


def _events_of_run(rng: random.Random, number: int, completed_at: datetime) -> Iterator[dict[str, Any]]:
    run, count = _run(rng, number, completed_at), _LARGE.get(number, rng.choice([0, 1, 1, 2, 3, 5, 9, 40]))
    kind = rng.random() if number not in _LARGE else 1.0
    if number == _LONG_NAMES:
        for shard in (1, 2):
            results = [result | {"name": "\U0001f600" * 990 + str(n)} for n, result in enumerate(_results(rng, 700))]
            yield _event(f"{number}-{shard}", "acme", run | {"shard": shard, "expected_shards": 2}, results)
    elif kind < 0.05:  # two attempts of one job, of which the second executes a part of the cases again
        results = _results(rng, count)
        yield _event(f"{number}-1", "acme", run | {"part": "unit", "attempt": 1}, results)
        again = [result | {"status": "passed"} for result in results[: count // 2]]
        yield _event(f"{number}-2", "acme", run | {"part": "unit", "attempt": 2}, again)
    elif kind < 0.12:  # shards, of which some never arrive
        sharded = run | {"expected_shards": 3}
        for shard in range(1, rng.randint(2, 4)):
            yield _event(f"{number}-{shard}", "acme", sharded | {"shard": shard}, _results(rng, count))
    elif kind < 0.15:
        yield _event(f"{number}", "acme", run | {"status": "canceled"}, _results(rng, count))
    elif kind < 0.18:
        yield _event(f"{number}", "acme", run | {"final": False}, _results(rng, count))
    else:
        yield _event(f"{number}", "acme", run, _results(rng, count), rng.choice(VARIANTS))


def _run(rng: random.Random, number: int, completed_at: datetime) -> dict[str, Any]:
    return {
        "run_id": f"run_{number}",
        "project_id": rng.choices(PROJECTS, [6, 3, 1])[0],
        "environment": rng.choice(ENVIRONMENTS),
        "branch": "rare" if number % 400 == 7 else rng.choice(BRANCHES),
        "base_branch": rng.choice(["main", None]),
        "commit_sha": rng.choice(COMMITS),
        "pull_request": rng.choice(["7", "8", None, None]),
        "ci_url": rng.choice(["https://ci.example.com/1?a=%C3%BC", None]),
        "labels": rng.choice(LABELS),
        "completed_at": completed_at.isoformat(),
        "started_at": rng.choice([(completed_at - timedelta(seconds=90)).isoformat(), None]),
    }


def _results(rng: random.Random, count: int) -> list[dict[str, Any]]:
    return [_result(rng, number, is_large=count > 100) for number in range(count)]


def _result(rng: random.Random, number: int, *, is_large: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": f"{rng.choice(NAMES)} {number}" if is_large else rng.choice(NAMES),
        "suite": rng.choice(SUITES),
        "case_id": None if is_large else rng.choice(CASE_IDS),
        "file": rng.choice(["tests/b.py", "A.py", None]),
        "line": rng.choice([7, None]),
        "status": rng.choice(STATUSES),
        "duration_ms": rng.choice([None, 0, 5, 5, 500, rng.randint(0, 100_000)]),
        "variant": rng.choice([None, None, *VARIANTS]),
        "properties": rng.choice([None, {"issue": "SHOP-1", "ü": "\t"}]),
        "logs_ref": rng.choice([None, "https://logs.example.com/1"]),
    }
    if result["status"] in ("failed", "error"):
        result["failure"] = _failure(rng)
    if rng.random() < 0.1:
        earlier = {"status": "failed", "duration_ms": 7, "failure": _failure(rng)}
        result["attempts"] = [earlier, {key: result[key] for key in ("status", "failure") if result.get(key)}]
    if rng.random() < 0.05:
        result["artifacts"] = [
            {"kind": "log", "name": f"log {n}.txt", "uri": f"https://x.example/{n}"} for n in range(3)
        ]
    return result


def _failure(rng: random.Random) -> dict[str, Any]:
    details = rng.choice([None, None, "at line 7\n" * 50, *([] if rng.random() < 0.9 else ["ü" * 20_000])])
    return {"type": rng.choice(["AssertionError", None]), "message": rng.choice(MESSAGES), "details": details}


def _event(
    id_: str, organization: str, run: dict[str, Any], results: list[Any], variant: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "specversion": "1.0", "type": "run.completed", "source": "/differential", "id": id_,
        "time": run["completed_at"],
        "data": {"organization": organization, "run": run, "results": results, "variant": variant},
    }  # fmt: skip
