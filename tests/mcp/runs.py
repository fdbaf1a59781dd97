"""Runs that the tools explain, and their first result."""

from typing import Any

from tests.mcp.calls import call
from tests.run_events import result, run_event
from tests.served import Api

NO_MONEY = {"type": "PaymentError", "message": "customer 7 has no money\nat line 3", "details": "d" * 20_000}
COMMIT = "c0ffee0123456789"


def at(minute: int) -> str:
    return f"2026-05-20T11:{minute:02}:00Z"


def failing(name: str = "pays", **fields: Any) -> Any:
    return result(name, "failed", failure=NO_MONEY, **fields)


async def ingest_change(api: Api) -> None:
    """Store three runs of main, and a run of a pull request with a new and a known failure."""
    for number in range(3):
        await api.store.ingest(
            run_event(f"main_{number}", [result("pays"), failing("refunds")], completed_at=at(number), branch="main")
        )
    await api.store.ingest(
        run_event(
            "pr_7", [failing(), failing("refunds"), result("logs in")], completed_at=at(9), branch="fix",
            base_branch="main", commit_sha=COMMIT, pull_request="7", labels={"team": "web"},
        )
    )  # fmt: skip


async def first_result(api: Api, **arguments: Any) -> tuple[Any, Any]:
    """Return the failing results of the run, and the first one in detail."""
    results = (await call(api, "explain_run", run_id="run_1"))["results"]
    return results, await call(api, "get_result", result_id=results[0]["result_id"], **arguments)
