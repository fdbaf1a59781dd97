"""The lifecycle of failure groups on the default branch, which upkeep updates after the states of cases.

A group is open in an environment while it has a case whose newest execution failed with its fingerprint. A case that
none of the newest runs executed doesn't count, because it was deleted from the code: none of the newest 20 runs, and
none of the 7 days before the newest one, of at most 100 runs. So the state follows from the stored runs alone, also
after late runs, corrections, and deletions.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from service.database.database import Connection
from service.domain.ids import Fingerprint, OrgId, new_id
from service.events import store as events_store
from service.events.contract import MAX_GROUP_CASES, FailureGroupObject, group_json
from service.events.model import EventType, NewEvent
from service.failures import store
from service.failures.model import GroupState, OpenGroup
from service.states import store as states_store
from service.states.model import HistoryPlace

_MIN_RUNS: Final = 20
_MAX_RUNS: Final = 100
_MIN_AGE_MS: Final = 7 * 24 * 3_600_000
_MAX_EVENTS: Final = 500  # per statement


class GroupChange(NamedTuple):
    """The new state of a group, and the type of its event. None: the change isn't published."""

    state: GroupState
    event: EventType | None


async def update_groups(
    connection: Connection,
    org_id: OrgId,
    project_id: str,
    environments: Collection[str],
    changed: Collection[str] | None,
    link_base: str,
) -> None:
    """Update the groups of a project in these environments, and publish the changes, in the caller's transaction.

    `changed` are the keys of the runs that have changed. None compares all groups of the project with its runs.
    """
    found = await store.lock_project(connection, org_id, project_id)
    if found is None:
        return
    branch, is_first = found
    examined = set(environments)
    if is_first and changed is not None:
        places = await states_store.find_places(connection, org_id)
        examined |= {place.environment for place in places if place.project_id == project_id}
    if is_first or changed is None:
        open_states = await store.find_states(connection, org_id, project_id, ())
        examined |= {name for state in open_states.values() for name in state.environments}
    groups = [
        await _read_place(connection, org_id, HistoryPlace(project_id, name), branch, changed or ())
        for name in examined
    ]
    fingerprints = {fingerprint for place in groups for fingerprint in place.open}
    stored = await store.find_states(connection, org_id, project_id, fingerprints)
    run_ids = {key: run_id for place in groups for key, run_id in place.run_ids.items()}
    update = _GroupUpdate(groups, run_ids, set(changed or ()), is_first)
    found_changes = (update.find_change(group, stored.get(group)) for group in sorted(fingerprints | stored.keys()))
    changes = [change for change in found_changes if change]
    if is_first:
        await store.set_recorded(connection, org_id, project_id, branch)
    if changes:
        await store.store_states(connection, org_id, project_id, [change.state for change in changes])
    published = [change for change in changes if change.event]
    for start in range(0, len(published), _MAX_EVENTS):
        part = published[start : start + _MAX_EVENTS]
        await _publish(connection, org_id, (project_id, branch), part, link_base)


class _FailingPlace(NamedTuple):
    """The newest runs of an environment, newest first, with their IDs, and the groups that fail in them."""

    environment: str
    run_keys: Sequence[str]
    run_ids: Mapping[str, str]
    open: Mapping[Fingerprint, OpenGroup]


async def _read_place(
    connection: Connection, org_id: OrgId, place: HistoryPlace, branch: str, changed: Collection[str]
) -> _FailingPlace:
    window = await states_store.find_window(connection, org_id, place, branch, _MAX_RUNS)
    keys = [run.run_key for run in window]
    keys = [key for no, key in enumerate(keys) if no < _MIN_RUNS or _time_ms(keys[0]) - _time_ms(key) < _MIN_AGE_MS]
    run_ids = await states_store.find_run_ids(connection, org_id, keys)
    keys = [key for key in keys if key in run_ids]  # the others are deleted concurrently
    found = await store.find_open_groups(connection, org_id, keys, changed) if keys else []
    return _FailingPlace(place.environment, keys, run_ids, {group.fingerprint: group for group in found})


class _GroupUpdate(NamedTuple):
    """The examined environments with the IDs of their runs, and the keys of changed runs."""

    places: Sequence[_FailingPlace]
    run_ids: Mapping[str, str]
    changed: Collection[str]
    is_first: bool

    def find_change(self, fingerprint: Fingerprint, stored: GroupState | None) -> GroupChange | None:
        """Return the change of a group, or None without one."""
        failing = [(place, place.open[fingerprint]) for place in self.places if fingerprint in place.open]
        examined = {place.environment for place in self.places}
        before = stored.environments if stored else ()
        environments = sorted({*before} - examined | {place.environment for place, _ in failing})
        last = max((place.run_keys[group.last_no - 1] for place, group in failing), default=None)
        if stored and before and environments:
            last_run_id = self.run_ids[last] if last else stored.last_run_id
            state = stored._replace(environments=environments, last_run_id=last_run_id)
            return None if state == stored._replace(environments=sorted(before)) else GroupChange(state, None)
        if stored and before:
            return GroupChange(self._resolve(stored), "failure_group.resolved")
        if last is None:
            return None
        opened = min(place.run_keys[group.opened_no - 1] for place, group in failing)
        state = GroupState(fingerprint, environments, _time(opened), self.run_ids[opened], self.run_ids[last])
        if stored:
            return GroupChange(state, "failure_group.recurred")
        is_known = self.is_first and not all(group.is_new for _, group in failing)
        return GroupChange(state, None if is_known else "failure_group.opened")

    def _resolve(self, stored: GroupState) -> GroupState:
        """Return the state after the newest of the changed runs, or of all without one, resolved the group."""
        keys = [key for place in self.places for key in place.run_keys]
        newest = max((key for key in keys if key in self.changed), default=max(keys, default=None))
        resolved_at = _time(newest) if newest else datetime.now(UTC)
        return stored._replace(
            environments=[], resolved_at=resolved_at, resolved_run_id=newest and self.run_ids[newest]
        )


async def _publish(
    connection: Connection, org_id: OrgId, place: tuple[str, str], changes: Sequence[GroupChange], link_base: str
) -> None:
    """Insert the events of some changes. `place` is the project with its default branch."""
    fingerprints = [change.state.fingerprint for change in changes]
    found = await store.find_objects(connection, org_id, place, fingerprints, link_base, MAX_GROUP_CASES)
    events: list[NewEvent] = []
    for state, type_ in changes:
        owners, group = found[state.fingerprint]
        run_id, data = state.resolved_run_id or state.last_run_id, group_json(cast("FailureGroupObject", group))
        events.append(
            NewEvent(org_id, new_id("evt"), str(type_), place[0], run_id, data, branch=place[1], owners=owners)
        )
    await events_store.insert(connection, events)


def _time_ms(run_key: str) -> int:
    return int(run_key[:12], 16)


def _time(run_key: str) -> datetime:
    return datetime.fromtimestamp(_time_ms(run_key) / 1000, UTC)
