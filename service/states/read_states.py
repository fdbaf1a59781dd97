"""The shown states of cases: the worst environment from the rows, and its details from the histories."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from service.database.database import Connection
from service.domain.ids import CaseKey, OrgId
from service.log import log
from service.states import store
from service.states.histories import CaseHistories
from service.states.model import HistoryPlace, HistoryRun, ShownState, StateDetails, StateValue

_LARGE_BYTES: Final = 2**16  # of a document, which a thread then decodes


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
    for worst in await store.find_worst(connection, org_id, cases):
        by_place[worst.place][worst.case_key] = worst.value
    shown: dict[CaseKey, ShownState] = {}
    for place, unhealthy in by_place.items():
        found: _Described | None
        if place in known:
            found = _Described(known[place].describe(unhealthy), known[place].runs)
        else:
            found = await _describe(connection, org_id, place, unhealthy)
        if found is None:
            shown |= {case: ShownState(value, place.environment or None) for case, value in unhealthy.items()}
        else:
            shown |= {case: _show(details, found.runs, place) for case, details in found.details.items()}
    run_keys = {key for state in shown.values() for key in (state.since_run_id, state.last_passed_run_id) if key}
    run_ids = await store.find_run_ids(connection, org_id, run_keys) if run_keys else {}
    return {case: _name_runs(state, run_ids) for case, state in shown.items()}


class _Described(NamedTuple):
    details: Mapping[CaseKey, StateDetails]
    runs: Sequence[HistoryRun]


async def _describe(
    connection: Connection, org_id: OrgId, place: HistoryPlace, cases: Collection[CaseKey]
) -> _Described | None:
    """Return the details of unhealthy states, and the runs of their histories, or None if they are damaged."""
    stored = await store.find_histories(connection, org_id, place)
    if stored is None:  # an update has changed the states since they were read
        return _Described({}, ())

    def describe() -> _Described:
        histories = CaseHistories.decode(stored.document)
        return _Described(histories.describe(cases), histories.runs)

    try:
        return describe() if len(stored.document) < _LARGE_BYTES else await asyncio.to_thread(describe)
    except Exception as error:
        log.error("case_histories_damaged", org_id=org_id, **place._asdict(), error=repr(error))
        return None


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
    )


def _name_runs(state: ShownState, run_ids: dict[str, str]) -> ShownState:
    """Replace the keys of runs by their IDs."""
    return state._replace(
        since_run_id=run_ids.get(state.since_run_id or ""),
        last_passed_run_id=run_ids.get(state.last_passed_run_id or ""),
    )
