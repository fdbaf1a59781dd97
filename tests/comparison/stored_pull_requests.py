"""Stored runs of main and of pull requests for the backtest."""

from typing import Any

from tests.run_events import result, run_event
from tests.served import Api

STATUSES = {"p": "passed", "f": "failed"}


def of_run(run_id: str, hour: int, cases: dict[str, str], **fields: Any) -> dict[str, Any]:
    """Return a run with a result of each case: `p` passed, `f` failed, `F` passed on a retry, and `.` none."""
    attempts = [{"status": "failed"}, {"status": "passed"}]
    results = [
        result(name, **({"attempts": attempts} if letter == "F" else {"status": STATUSES[letter]}))
        for name, letter in cases.items()
        if letter != "."
    ]
    completed_at = f"2026-05-{1 + hour // 24:02}T{hour % 24:02}:00:00Z"
    return run_event(run_id, results, **{"branch": "main", "completed_at": completed_at} | fields)


def pull_request(number: int, attempt: int, hour: int, cases: dict[str, str]) -> dict[str, Any]:
    topic = {"branch": f"topic_{number}", "base_branch": "main", "pull_request": str(number)}
    return of_run(f"pr_{number}_{attempt}", hour, cases, **topic)


async def store_history(api: Api) -> None:
    """Store 60 runs of main: `repaired` was broken until run 48, `rare` failed twice, and `steady` never."""
    main = [
        of_run(f"main_{number}", number, {
            "repaired": "f" if 41 <= number <= 48 else "p",
            "rare": "F" if number in (5, 30) else "p",
            "steady": "p",
        })
        for number in range(1, 61)
    ]  # fmt: skip
    await api.store.ingest(
        *main,
        pull_request(1, 1, 61, {"repaired": "f", "rare": "p", "steady": "f"}),
        pull_request(1, 2, 62, {"repaired": "f", "rare": "p", "steady": "p"}),
        pull_request(2, 1, 62, {"repaired": "p", "rare": "f", "steady": "p"}),
        pull_request(3, 1, 62, {"repaired": "p", "rare": "p", "steady": "p"}),
        of_run("elsewhere", 62, {"rare": "f"}, branch="topic", base_branch="none", pull_request="4"),
        of_run("main_61", 63, {"repaired": "f", "rare": "p", "steady": "p"}),
    )
