"""States of cases: written by upkeep for the stored runs, or inserted without the runs from which they would follow."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from service.domain.statuses import StateValue
from service.events.operations import number_events
from service.states import store
from service.states.histories import CaseHistories, HistoryGroup
from service.states.model import HistoryPlace, HistoryRun, StateChange
from service.states.store import StoredHistories
from service.states.update_states import StateUpdater
from tests.run_events import result, run_event

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
ATTEMPTS: Final = [{"status": "failed"}, {"status": "passed"}]
STATUSES: Final = {"p": "passed", "f": "failed"}


def day_of_runs(day: int, histories: dict[str, str], **fields: Any) -> list[Any]:
    """Return the runs of a day on main, in which each case has the outcomes p, f, and F: passed after a failure."""
    return [
        run_event(
            f"d{day}-{number}",
            [
                result(name, **({"attempts": ATTEMPTS} if letter == "F" else {"status": STATUSES[letter]}))
                for name, letter in zip(histories, letters, strict=True)
            ],
            completed_at=(START + timedelta(days=day, minutes=number)).isoformat(),
            **{"branch": "main", "commit_sha": f"c{day}-{number}"} | fields,
        )
        for number, letters in enumerate(zip(*histories.values(), strict=True))
    ]


async def update_states(pool: asyncpg.Pool) -> None:
    """Update the states as upkeep does."""
    await number_events(pool)
    await StateUpdater(pool).update()


async def worst_states(pool: asyncpg.Pool) -> dict[int, str]:
    """Return the worst state of each unhealthy case."""
    rows = await pool.fetch("SELECT case_key, min(state) AS state FROM case_states GROUP BY case_key")
    return {row["case_key"]: row["state"] for row in rows}


async def insert_states(pool: asyncpg.Pool, state: StateValue, environment: str = "", where: str = "true") -> None:
    """Insert the state of all cases `c` that match a condition, with one bad result in each run of their project."""
    rows = await pool.fetch(
        f"SELECT org_id, project_id, array_agg(case_key) AS cases FROM cases c WHERE {where} GROUP BY 1, 2"
    )
    for org_id, project_id, cases in rows:
        runs = await pool.fetch(
            "SELECT run_key, commit_sha FROM runs WHERE org_id = $1 AND project_id = $2 ORDER BY run_key DESC",
            org_id, project_id,
        )  # fmt: skip
        async with pool.acquire() as connection:
            place = HistoryPlace(project_id, environment)
            stored = await store.find_histories(connection, org_id, place)
            histories = CaseHistories() if stored is None else CaseHistories.decode(stored.document)
            if stored is None:
                for run_key, commit_sha in runs:
                    run = HistoryRun(run_key.hex, 1, commit_sha, is_mass_failure=False, is_outage=False)
                    histories.insert(run, {}, ())
            letter = "f" if state == "broken" else "r"
            group = HistoryGroup(letter * len(runs), state, len(runs), 0, cases)
            histories._groups.append(group)
            document = StoredHistories("main", histories.encode())
            await store.store_histories(connection, org_id, place, document, [run.run_key for run in histories.runs])
            await store.store_states(connection, org_id, place, [StateChange(case, "healthy", state) for case in cases])
