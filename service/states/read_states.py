"""The shown states of cases: the worst environment from the rows, and its details from the histories."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import Final

from service.database.database import Connection
from service.domain.ids import CaseKey, OrgId
from service.evidence.model import History
from service.states import store
from service.states.histories import CaseHistories
from service.states.model import HistoryPlace, ShownState, describe_state
from service.states.store import WorstState

_LARGE_BYTES: Final = 2**16  # of a document, which a thread then decodes


async def find_shown(connection: Connection, org_id: OrgId, cases: Collection[CaseKey]) -> dict[CaseKey, ShownState]:
    """Return the shown states of those of the cases that are unhealthy. The role results_api suffices."""
    by_place: dict[HistoryPlace, list[WorstState]] = defaultdict(list)
    for worst in await store.find_worst(connection, org_id, cases):
        by_place[worst.place].append(worst)
    shown: dict[CaseKey, ShownState] = {}
    for place, unhealthy in by_place.items():
        histories = await _read_histories(connection, org_id, place, {each.case_key for each in unhealthy})
        states = {
            each.case_key: _show(each, histories[each.case_key]) for each in unhealthy if each.case_key in histories
        }
        keys = {key for state in states.values() for key in (state.since_run_id, state.last_passed_run_id) if key}
        run_ids = await store.find_run_ids(connection, org_id, keys)
        shown |= {case: _name_runs(state, run_ids) for case, state in states.items()}
    return shown


async def _read_histories(
    connection: Connection, org_id: OrgId, place: HistoryPlace, cases: Collection[CaseKey]
) -> dict[CaseKey, History]:
    stored = await store.find_histories(connection, org_id, place)
    if stored is None:
        return {}
    if len(stored.document) < _LARGE_BYTES:
        return CaseHistories.decode(stored.document).find(cases)
    return await asyncio.to_thread(lambda: CaseHistories.decode(stored.document).find(cases))


def _show(worst: WorstState, history: History) -> ShownState:
    """Return the state with the keys of its runs."""
    details = describe_state(history, worst.value)
    since, last_passed = (
        None if position is None else history.runs.runs[position] for position in (details.since, details.last_passed)
    )
    return ShownState(
        worst.value,
        worst.place.environment or None,
        since_run_id=since and since.run_id,
        last_passed_run_id=last_passed and last_passed.run_id,
        first_commit=since and since.commit_sha,
        last_good_commit=last_passed and last_passed.commit_sha,
        runs=details.runs,
        failed=details.failed,
        flaky=details.flaky,
        failure_rate=details.failure_rate,
    )


def _name_runs(state: ShownState, run_ids: dict[str, str]) -> ShownState:
    """Replace the keys of runs by their IDs."""
    return state._replace(
        since_run_id=run_ids.get(state.since_run_id or ""),
        last_passed_run_id=run_ids.get(state.last_passed_run_id or ""),
    )
