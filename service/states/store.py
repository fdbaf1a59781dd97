"""Queries for the states of cases. They require the role results_worker, except for those that state another one."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from service.database.database import Connection, Row
from service.database.statements import Statement, compose, statements
from service.domain.ids import CaseKey, OrgId
from service.domain.statuses import StateValue
from service.evidence.model import Outcome, is_mass_failure, is_outage
from service.states.model import MAX_RUNS, BadResults, HistoryPlace, HistoryRun, StateChange

_SQL: Final = statements("states")
_EXAMINED_RUNS: Final = 2_000  # of each default branch, to find its environments


class StatePosition(NamedTuple):
    """The last event that the states of an organization contain. None: all histories must be compared."""

    event_number: int | None = None
    requests: int = 0


class RunEvent(NamedTuple):
    """An event, with its run if it's about one. The event of a deletion has a project."""

    number: int
    project_id: str
    run_id: str | None
    is_deletion: bool


class ChangedRun(NamedTuple):
    """A run that changed, and whether states follow from it: its branch is the default branch, and it is complete."""

    run: HistoryRun
    run_id: str
    place: HistoryPlace
    is_used: bool


async def find_organizations(connection: Connection) -> list[OrgId]:
    """Return the organizations whose states don't contain the newest events."""
    return [OrgId(row["org_id"]) for row in await connection.fetch(_SQL["find_organizations"])]


async def try_lock(connection: Connection, org_id: OrgId) -> bool:
    """Lock the states of an organization until the transaction ends. Return False if they are locked."""
    return await connection.fetchval(_SQL["try_lock"], org_id) is True


async def find_position(connection: Connection, org_id: OrgId) -> StatePosition:
    """Return the position of an organization."""
    row = await connection.fetchrow(_SQL["find_position"], org_id)
    return StatePosition(*row) if row else StatePosition()


async def set_position(connection: Connection, org_id: OrgId, position: StatePosition) -> None:
    """Store a position, unless a comparison was requested since it was read."""
    await connection.execute(_SQL["set_position"], org_id, *position)


async def request_comparison(connection: Connection, org_id: OrgId) -> None:
    """Let upkeep compare all histories of an organization with its stored runs, because no event states a change.

    The role results_api suffices.
    """
    await connection.execute(_SQL["request_comparison"], org_id)


async def find_changes(connection: Connection, org_id: OrgId, position: int, limit: int) -> list[RunEvent]:
    """Return the next events after a position."""
    return [RunEvent(*row) for row in await connection.fetch(_SQL["find_changes"], org_id, position, limit)]


async def find_runs(connection: Connection, org_id: OrgId, run_ids: Collection[str]) -> list[ChangedRun]:
    """Return those of the runs that exist."""
    return [
        ChangedRun(
            _history_run(row),
            row["run_id"],
            HistoryPlace(row["project_id"], row["environment"]),
            row["is_used"] is True,
        )
        for row in await connection.fetch(_SQL["find_runs"], org_id, list(run_ids))
    ]


async def find_window(
    connection: Connection, org_id: OrgId, place: HistoryPlace, branch: str, limit: int | None = None
) -> list[HistoryRun]:
    """Return the newest runs from which states follow, newest first: at most `limit`, or all of the window."""
    values = {"org_id": org_id, **place._asdict(), "branch": branch}
    statement = window_statement(place.environment, limit or MAX_RUNS)
    return list(map(_history_run, await statement.fetch_rows(connection, values)))


async def find_places(connection: Connection, org_id: OrgId) -> list[HistoryPlace]:
    """Return the projects of an organization, each with the environments of its default branch."""
    return [HistoryPlace(*row) for row in await connection.fetch(_SQL["find_places"], org_id, _EXAMINED_RUNS)]


async def find_places_of(
    connection: Connection, org_id: OrgId, project_ids: Collection[str], run_keys: Collection[str] | None = None
) -> set[HistoryPlace]:
    """Return the places of these projects whose histories contain one of the runs, or all places of the projects."""
    keys = None if run_keys is None else list(run_keys)
    rows = await connection.fetch(_SQL["find_places_of"], org_id, list(project_ids), keys)
    return {HistoryPlace(*row) for row in rows}


async def find_branch(connection: Connection, org_id: OrgId, project_id: str) -> str | None:
    """Return the default branch of a project, or None if the project doesn't exist or is being deleted.

    A deletion that is requested later waits for the end of the transaction.
    """
    branch: str | None = await connection.fetchval(_SQL["find_branch"], org_id, project_id)
    return branch


async def find_bad(connection: Connection, org_id: OrgId, run_keys: Sequence[str]) -> dict[str, BadResults]:
    """Return the bad results of each run."""
    rows = await connection.fetch(_SQL["find_bad"], org_id, run_keys)
    return {row["run_key"]: _bad_results(row) for row in rows}


async def find_passed(
    connection: Connection, org_id: OrgId, run_keys: Sequence[str], cases: Sequence[CaseKey]
) -> dict[str, set[CaseKey]]:
    """Return which of the cases passed in each run."""
    if not cases:
        return {}
    rows = await connection.fetch(_SQL["find_passed"], org_id, run_keys, sorted(cases))  # in the order of the rows
    return {row["run_key"]: set(row["passed"]) for row in rows}


class StoredHistories(NamedTuple):
    """The histories of a place as a document, and the branch of their runs."""

    branch: str
    document: bytes


async def find_histories(connection: Connection, org_id: OrgId, place: HistoryPlace) -> StoredHistories | None:
    """Return the histories of a place, or None if there are none."""
    row = await connection.fetchrow(_SQL["find_histories"], org_id, *place)
    return StoredHistories(*row) if row else None


async def store_histories(
    connection: Connection, org_id: OrgId, place: HistoryPlace, stored: StoredHistories, run_keys: Sequence[str]
) -> None:
    """Store the histories of a place. `run_keys` are their runs, newest first; without runs, the row is deleted."""
    if run_keys:
        values = (stored.branch, run_keys[0], run_keys, stored.document)
        await connection.execute(_SQL["store_histories"], org_id, *place, *values)
    else:
        await connection.execute(_SQL["delete_histories"], org_id, *place)


async def delete_states_of(connection: Connection, org_id: OrgId, place: HistoryPlace) -> None:
    """Delete the states of a place."""
    await connection.execute(_SQL["delete_states_of"], org_id, *place)


async def store_states(
    connection: Connection, org_id: OrgId, place: HistoryPlace, changes: Sequence[StateChange]
) -> None:
    """Store the states of cases in one environment. A healthy case has no row."""
    healthy = [change.case_key for change in changes if change.now == "healthy"]
    if healthy:
        await connection.execute(_SQL["delete_states"], org_id, place.environment, healthy)
    unhealthy = [change for change in changes if change.now != "healthy"]
    if unhealthy:
        cases, states = [change.case_key for change in unhealthy], [change.now for change in unhealthy]
        await connection.execute(_SQL["store_states"], org_id, *place, cases, states)


async def find_other_states(
    connection: Connection, org_id: OrgId, place: HistoryPlace, cases: Sequence[CaseKey]
) -> Mapping[CaseKey, set[StateValue]]:
    """Return the states of unhealthy cases in the other environments."""
    states: dict[CaseKey, set[StateValue]] = defaultdict(set)
    for row in await connection.fetch(_SQL["find_other_states"], org_id, place.environment, cases):
        states[row["case_key"]].add(row["state"])
    return states


class ShownValue(NamedTuple):
    """The shown state of an unhealthy case, and its project and environment."""

    case_key: CaseKey
    value: StateValue
    place: HistoryPlace


async def find_shown(connection: Connection, org_id: OrgId, cases: Collection[CaseKey]) -> list[ShownValue]:
    """Return the shown states of those of the cases that are unhealthy. The role results_api suffices."""
    rows = await connection.fetch(_SQL["find_shown"], org_id, list(cases))
    return [
        ShownValue(row["case_key"], row["state"], HistoryPlace(row["project_id"], row["environment"])) for row in rows
    ]


async def count_shown(connection: Connection, org_id: OrgId, project_id: str) -> dict[StateValue, int]:
    """Return how many cases of a project have each state except healthy. The role results_api suffices."""
    return {row["state"]: row["cases"] for row in await connection.fetch(_SQL["count_shown"], org_id, project_id)}


async def find_run_ids(connection: Connection, org_id: OrgId, run_keys: Collection[str]) -> dict[str, str]:
    """Return the ID of each run. The role results_api suffices."""
    rows = await connection.fetch(_SQL["find_run_ids"], org_id, list(run_keys))
    return {row["run_key"]: row["run_id"] for row in rows}


async def find_unhealthy(connection: Connection, org_id: OrgId, project_id: str) -> dict[CaseKey, StateValue]:
    """Return the shown state of each unhealthy case of a project."""
    return {row["case_key"]: row["state"] for row in await connection.fetch(_SQL["find_unhealthy"], org_id, project_id)}


async def find_run_keys(connection: Connection, org_id: OrgId, project_id: str, limit: int) -> list[str]:
    """Return the keys of the newest runs in the histories of a project, in any environment, newest first."""
    return [row["run_key"] for row in await connection.fetch(_SQL["find_run_keys"], org_id, project_id, limit)]


async def find_executed(connection: Connection, org_id: OrgId, project_id: str, runs: int) -> list[list[int]]:
    """Return for each environment how many cases its newest runs executed, newest first."""
    return [row["executed"] for row in await connection.fetch(_SQL["find_executed"], org_id, project_id, runs)]


async def delete_of_project(connection: Connection, org_id: OrgId, project_id: str) -> None:
    """Delete the states and histories of a project."""
    await connection.execute(_SQL["delete_of_project"], org_id, project_id)


def window_statement(environment: str, limit: int = MAX_RUNS) -> Statement:
    """Return the statement for the window of an environment, which is empty for runs without one."""
    condition = "in_environment" if environment else "without_environment"
    return compose("window_of_histories", environment=condition, window_runs=limit)


def _history_run(row: Row) -> HistoryRun:
    executed, failed = row["executed"], row["failed"]
    return HistoryRun(
        row["run_key"],
        row["revision"],
        row["commit_sha"],
        is_mass_failure(executed, failed),
        is_outage(executed, failed),
    )


def _bad_results(row: Row) -> BadResults:
    bad: dict[CaseKey, Outcome] = dict.fromkeys(row["retried"], "r")
    return bad | dict.fromkeys(row["failed"], "f")
