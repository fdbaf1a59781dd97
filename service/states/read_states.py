"""The stored histories, and the shown states of cases: their values from rows, and details from histories."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from service.database.database import Connection, Pool, as_organization
from service.domain.ids import CaseKey, OrgId, RunKey, completed_ms
from service.domain.statuses import StateValue
from service.identity.keys.model import Caller
from service.log import log
from service.states import store
from service.states.histories import CaseHistories
from service.states.model import HistoryPlace, HistoryRun, ShownState, StateDetails

_LARGE_BYTES: Final = 2**16  # of a document, which a thread then decodes


class ReadHistories(NamedTuple):
    """Stored histories, and the branch of their runs. `histories` is None if they can't be read."""

    branch: str
    histories: CaseHistories | None


async def read_histories(connection: Connection, org_id: OrgId, place: HistoryPlace) -> ReadHistories | None:
    """Return the stored histories of a place, or None if there are none. The role results_api suffices."""
    stored = await store.find_histories(connection, org_id, place)
    if stored is None:
        return None
    branch, document = stored
    try:
        if len(document) < _LARGE_BYTES:
            return ReadHistories(branch, CaseHistories.decode(document))
        return ReadHistories(branch, await asyncio.to_thread(CaseHistories.decode, document))
    except Exception as error:
        log.error("case_histories_damaged", org_id=org_id, **place._asdict(), error=repr(error))
        return ReadHistories(branch, None)


async def find_shown(
    connection: Connection,
    org_id: OrgId,
    cases: Collection[CaseKey],
    known: Mapping[HistoryPlace, CaseHistories] = MappingProxyType({}),
) -> dict[CaseKey, ShownState]:
    """Return the shown states of those of the cases that are unhealthy. The role results_api suffices.

    `known` are histories that the caller has read already. A state whose histories can't be read, for example because a
    later version wrote them, has no details.
    """
    by_place: dict[HistoryPlace, dict[CaseKey, StateValue]] = defaultdict(dict)
    for case, value, place in await store.find_shown(connection, org_id, cases):
        by_place[place][case] = value
    shown: dict[CaseKey, ShownState] = {}
    for place, unhealthy in by_place.items():
        histories = known.get(place)
        if histories is None:
            read = await read_histories(connection, org_id, place)
            if read is None:  # an update has deleted the states since they were read
                continue
            histories = read.histories
        if histories is None:
            shown |= {case: ShownState(value, place.environment or None) for case, value in unhealthy.items()}
        else:
            details = histories.describe(unhealthy)
            shown |= {case: _show(each, histories.runs, place) for case, each in details.items()}
    run_keys = {key for state in shown.values() for key in (state.since_run_id, state.last_passed_run_id) if key}
    run_ids = await store.find_run_ids(connection, org_id, run_keys) if run_keys else {}
    return {case: _name_runs(state, run_ids) for case, state in shown.items()}


def _show(details: StateDetails, runs: Sequence[HistoryRun], place: HistoryPlace) -> ShownState:
    """Return the state with the keys of its runs."""
    since, last_passed = (
        None if position is None else runs[position] for position in (details.since, details.last_passed)
    )
    return ShownState(
        details.value,
        place.environment or None,
        since_run_id=since and since.run_key,
        last_passed_run_id=last_passed and last_passed.run_key,
        first_commit=since and since.commit_sha,
        last_good_commit=last_passed and last_passed.commit_sha,
        runs=details.runs,
        failed=details.failed,
        flaky=details.flaky,
        failure_rate=details.failure_rate,
        since_ms=since and completed_ms(RunKey(UUID(since.run_key))),
    )


def _name_runs(state: ShownState, run_ids: dict[str, str]) -> ShownState:
    """Replace the keys of runs by their IDs."""
    return state._replace(
        since_run_id=run_ids.get(state.since_run_id or ""),
        last_passed_run_id=run_ids.get(state.last_passed_run_id or ""),
    )


async def find_states(pool: Pool, caller: Caller, cases: Iterable[CaseKey]) -> Mapping[StateValue, set[CaseKey]]:
    """Return the unhealthy ones of cases that the caller has read, by their shown states."""
    states: dict[StateValue, set[CaseKey]] = defaultdict(set)
    async with as_organization(pool, caller.org_id) as connection:
        for case, value, _ in await store.find_shown(connection, caller.org_id, list(cases)):
            states[value].add(case)
    return states


async def count_states(pool: Pool, caller: Caller, project_id: str) -> Mapping[StateValue, int]:
    """Return how many cases of a project are broken and flaky, or nothing if the caller can't read the project."""
    if caller.project_id not in (None, project_id):
        return {}
    async with as_organization(pool, caller.org_id) as connection:
        return await store.count_shown(connection, caller.org_id, project_id)
