"""The update of states: it follows the event stream of each organization, and reads what the changed runs changed.

It publishes the changes of shown states in the same transaction.

The document of each project and environment contains the keys and revisions of its runs. So an update that was
interrupted, a run that arrived late, a correction, and a deletion all lead to the histories of the stored runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from service.cases import store as cases_store
from service.database.database import Connection, Pool
from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId, new_id
from service.domain.statuses import StateValue
from service.events import store as events_store
from service.events.contract import write_case_object
from service.events.model import EventType, NewEvent
from service.evidence.model import KnownScores
from service.failures.update_groups import update_groups
from service.quarantines.apply_policy import apply_policy
from service.retention.organization_store import prevent_deletion
from service.states import store
from service.states.histories import CaseHistories
from service.states.model import (
    MAX_RUNS,
    HistoryPlace,
    HistoryRun,
    ShownChange,
    ShownState,
    count_runs,
    find_changes,
    find_shown_changes,
)
from service.states.read_states import find_shown, read_histories
from service.states.store import ChangedRun, RunEvent, StoredHistories

_CACHE_BYTES: Final = 16 * 2**20
_MAX_EVENTS: Final = 200  # per transaction
_MAX_RUNS: Final = 20  # per query of bad results
_MAX_RESULTS: Final = 20_000  # per query of passed results
_MAX_READ_AGAIN: Final = 50  # changed runs; more of them are read with all others
_EVENT_TYPES: Final[Mapping[StateValue, EventType]] = {
    "healthy": "case.recovered",
    "flaky": "case.flaky",
    "broken": "case.broken",
}


class StateUpdater:
    """Updates the states and failure groups of all organizations.

    Create one per process, because it keeps scores of older results. Links in events start with `link_base`.
    """

    def __init__(self, pool: Pool, link_base: str = "") -> None:
        self._pool = pool
        self._link_base = link_base
        self._known = KnownScores(_CACHE_BYTES)

    async def update(self) -> None:
        """Update the states of each organization that has new events. An organization that is locked is skipped.

        After an error in one organization, the others are updated before the error is raised.
        """
        async with self._pool.acquire() as connection:
            organizations = await store.find_organizations(connection)
        failure: Exception | None = None
        for org_id in organizations:
            try:
                while await self._follow(org_id):
                    pass
            except Exception as error:
                failure = error
        if failure:
            raise failure

    async def _follow(self, org_id: OrgId) -> bool:
        """Update the histories that the next events changed. Return whether there can be more events."""
        async with self._pool.acquire() as connection, notifying_transaction(connection):
            await prevent_deletion(connection, [org_id])
            if not await store.try_lock(connection, org_id):
                return False
            position = await store.find_position(connection, org_id)
            _, pruned_to = await events_store.find_bounds(connection, org_id)
            if position.event_number is not None and position.event_number >= pruned_to:
                events = await store.find_changes(connection, org_id, position.event_number, _MAX_EVENTS)
                if events:
                    await self._update_changed(connection, org_id, events)
                    await store.set_position(connection, org_id, position._replace(event_number=events[-1].number))
                return len(events) == _MAX_EVENTS
        return await self._compare_all(org_id)

    async def _compare_all(self, org_id: OrgId) -> bool:
        """Compare all histories of an organization with its stored runs, each in its own transaction.

        Return False if another process has the lock.
        """
        async with self._pool.acquire() as connection:
            position = await store.find_position(connection, org_id)
            last, _ = await events_store.find_bounds(connection, org_id)
            places = await store.find_places(connection, org_id)
        for place in places:
            async with self._pool.acquire() as connection, notifying_transaction(connection):
                await prevent_deletion(connection, [org_id])
                if not await store.try_lock(connection, org_id):
                    return False
                await self._update_place(connection, org_id, place, None)
                await apply_policy(connection, org_id, place.project_id)
        for project_id, environments in _group_places(places).items():
            async with self._pool.acquire() as connection, notifying_transaction(connection):
                await prevent_deletion(connection, [org_id])
                if not await store.try_lock(connection, org_id):
                    return False
                await update_groups(connection, org_id, project_id, environments, None, self._link_base)
        async with self._pool.acquire() as connection:
            await store.set_position(connection, org_id, position._replace(event_number=last))
        return True

    async def _update_changed(self, connection: Connection, org_id: OrgId, events: Sequence[RunEvent]) -> None:
        changed = await store.find_runs(connection, org_id, {event.run_id for event in events if event.run_id})
        deleted = {event.project_id for event in events if event.is_deletion}
        again = [each for each in changed if each.run.revision > 1]
        places = {each.place for each in changed if each.is_used}
        if again:  # a correction can move a run to another branch or environment
            projects = {each.place.project_id for each in again}
            keys = [each.run.run_key for each in again]
            places |= await store.find_places_of(connection, org_id, projects, keys)
        compared = await store.find_places_of(connection, org_id, deleted) if deleted else set[HistoryPlace]()
        for place in sorted(places | compared):
            await self._update_place(connection, org_id, place, None if place in compared else changed)
        changed_keys = [each.run.run_key for each in changed]
        for project_id, environments in _group_places(sorted(places | compared)).items():
            await apply_policy(connection, org_id, project_id)
            await update_groups(connection, org_id, project_id, environments, changed_keys, self._link_base)

    async def _update_place(
        self, connection: Connection, org_id: OrgId, place: HistoryPlace, changed: Sequence[ChangedRun] | None
    ) -> None:
        branch = await store.find_branch(connection, org_id, place.project_id)
        if branch is not None:
            await HistoryUpdate(connection, org_id, place, branch, self._known).run(changed)


class HistoryUpdate:
    """The update of the histories of one project and environment, in the transaction of the caller."""

    def __init__(
        self, connection: Connection, org_id: OrgId, place: HistoryPlace, branch: str, known: KnownScores
    ) -> None:
        self._connection = connection
        self._org_id = org_id
        self._place = place
        self._branch = branch
        self._known = known

    async def run(self, changed: Sequence[ChangedRun] | None) -> None:
        """Update the histories and states, and publish the changes of shown states.

        None compares all runs, and else only these have changed. The first histories of a branch aren't a change.
        """
        read = await read_histories(self._connection, self._org_id, self._place)
        known = read.histories if read else None
        if read and known is None:
            await store.delete_states_of(self._connection, self._org_id, self._place)
        before = known.states if known else {}
        is_first = not (read and known and read.branch == self._branch)
        histories: CaseHistories | None
        if known is None or is_first:
            histories = await self._read_window(await self._find_window())
        else:
            histories = await self._read_changed(known, changed)
        if histories is None:
            return
        await histories.judge(self._known)
        changes = find_changes(before, histories.states)
        run_keys = [run.run_key for run in histories.runs]
        document = StoredHistories(self._branch, histories.encode())
        await store.store_histories(self._connection, self._org_id, self._place, document, run_keys)
        if not changes:
            return
        await store.store_states(self._connection, self._org_id, self._place, changes)
        cases = [change.case_key for change in changes]
        others = await store.find_other_states(self._connection, self._org_id, self._place, cases)
        if not is_first:
            await self._publish(find_shown_changes(changes, others), histories)

    async def _publish(self, changes: Sequence[ShownChange], histories: CaseHistories) -> None:
        """Insert an event for each change of a shown state."""
        if not changes:
            return
        keys = [change.case_key for change in changes]
        cases = await cases_store.find_stored(self._connection, [(self._org_id, key) for key in keys])
        shown = await find_shown(self._connection, self._org_id, keys, {self._place: histories})
        events: list[NewEvent] = []
        for key, before, now in changes:
            case = cases[self._org_id, key].case
            data = orjson.dumps(write_case_object(key, case, shown.get(key, ShownState()), before)).decode()
            events.append(
                NewEvent(
                    self._org_id,
                    new_id("evt"),
                    _EVENT_TYPES[now],
                    case.project_id,
                    None,
                    data,
                    branch=self._branch,
                    owners=case.owners,
                    state=now,
                )
            )
        await events_store.insert(self._connection, events)

    async def _read_changed(
        self, histories: CaseHistories, changed: Sequence[ChangedRun] | None
    ) -> CaseHistories | None:
        """Return the histories with these changes, or None if there are none. Without changes, compare all runs."""
        window: list[HistoryRun] | None = None
        if changed is None:
            window = await self._find_window()
            runs = _select(window)
            removed = {run.run_key for run in histories.runs}
        else:
            runs = [each.run for each in changed if each.is_used and each.place == self._place]
            removed = {each.run.run_key for each in changed}
        unchanged = set(histories.runs) & set(runs)
        removed = (removed & {run.run_key for run in histories.runs}) - {run.run_key for run in unchanged}
        added = [run for run in runs if run not in unchanged and histories.has_place_for(run)]
        if not (removed or added):
            return None
        if len(removed) + len(added) <= _MAX_READ_AGAIN:
            histories.remove(removed)
            await self._insert(histories, added)
            if histories.trim():
                await self._track(histories)
                return histories
        return await self._read_window(await self._find_window() if window is None else window)

    async def _find_window(self) -> list[HistoryRun]:
        return await store.find_window(self._connection, self._org_id, self._place, self._branch)

    async def _read_window(self, window: Sequence[HistoryRun]) -> CaseHistories:
        """Read the results of all runs of a window."""
        runs = _select(window)
        histories = CaseHistories(has_all_runs=len(runs) == len(window) < MAX_RUNS)
        for part in _divide(runs, _MAX_RUNS):
            await self._insert(histories, part)
        await self._track(histories)
        return histories

    async def _insert(self, histories: CaseHistories, runs: Sequence[HistoryRun]) -> None:
        keys = [run.run_key for run in runs if not run.is_outage]
        bad = await store.find_bad(self._connection, self._org_id, keys) if keys else {}
        passed = await store.find_passed(self._connection, self._org_id, keys, histories.tracked)
        for run in runs:
            histories.insert(run, bad.get(run.run_key, {}), passed.get(run.run_key, ()))

    async def _track(self, histories: CaseHistories) -> None:
        """Track the cases that have two bad results now, for which the other results are read."""
        cases = histories.untracked
        outcomes = dict.fromkeys(cases, "")
        for runs in _divide(histories.runs, _MAX_RESULTS // len(cases) + 1) if cases else ():
            keys = [run.run_key for run in runs if not run.is_outage]
            passed = await store.find_passed(self._connection, self._org_id, keys, cases)
            for case, letters in histories.read_untracked(cases, runs, passed).items():
                outcomes[case] += letters
        histories.track(outcomes)


def _select(window: Sequence[HistoryRun]) -> Sequence[HistoryRun]:
    """Return the runs of the window of states."""
    return window[: count_runs([run.run_key for run in window])]


def _group_places(places: Sequence[HistoryPlace]) -> Mapping[str, Sequence[str]]:
    """Return the environments of each project."""
    grouped: dict[str, list[str]] = {}
    for place in places:
        grouped.setdefault(place.project_id, []).append(place.environment)
    return grouped


def _divide(runs: Sequence[HistoryRun], count: int) -> Iterator[Sequence[HistoryRun]]:
    return (runs[start : start + count] for start in range(0, len(runs), count))
