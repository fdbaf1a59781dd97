"""The states of cases after earlier runs of the default branch, from the histories of the newest states."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from service.comparison.backtest import MAX_PAGE_S, ReplayedDays
from service.comparison.contract import BacktestQuery, PastStates, write_past_states
from service.comparison.model import RECENT_RUNS, largest_complete
from service.database.database import Pool, as_organization
from service.domain.cursors import CursorCodec, Cursors
from service.domain.errors import Unavailable
from service.domain.ids import CaseKey, RunKey, completed_ms, first_run_key
from service.domain.statuses import StateValue
from service.evidence.model import EvidenceRuns, History, KnownScores
from service.identity.keys.model import Caller
from service.projects.operations import read_project
from service.states import store
from service.states.histories import CaseHistories
from service.states.model import MAX_RUNS, count_runs, judge_state
from service.states.read_states import read_histories

_JUDGED_PER_STEP: Final = 50  # then other requests run
_CACHE_BYTES: Final = 4 * 2**20
_CODEC: Final = CursorCodec[str](bytes.fromhex, bytes.hex)

States = Mapping[CaseKey, StateValue]


class StatesPage(NamedTuple):
    """States after runs, oldest first. `executed` is the number of cases that the newest complete run executed."""

    runs: Sequence[PastStates]
    executed: int
    progress: float
    next_cursor: str | None


async def replay_states(pool: Pool, caller: Caller, project_id: str, query: BacktestQuery) -> StatesPage:
    """Return the shown states of unhealthy cases after each run of the default branch in these days.

    A page ends early if it takes long. Raises NotFound for an unknown project, and InvalidRequest for a cursor of
    another list.
    """
    cursors = Cursors(_CODEC, "past_states", caller.org_id, {"project_id": project_id, "days": query.days})
    after = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        await read_project(connection, caller, project_id)
        places = sorted(await store.find_places_of(connection, caller.org_id, [project_id]))
        stored = [await read_histories(connection, caller.org_id, place) for place in places]
        executed = await store.find_executed(connection, caller.org_id, project_id, RECENT_RUNS)
    past = [_PlaceHistories(each.histories) for each in stored if each and each.histories]
    if len(past) < sum(1 for each in stored if each):
        raise Unavailable("the stored histories can't be read; they are read again after the next run")
    run_keys = sorted((key, place, position) for place, each in enumerate(past) for position, key in each.positions)
    complete = largest_complete(executed)
    if not run_keys:
        return StatesPage((), complete, 1.0, None)
    days = ReplayedDays.before(_completed_ms(run_keys[-1][0]), query.days)
    start = max(after or "", first_run_key(days.first_ms).hex)
    replayed = [each for each in run_keys if each[0] > start]
    deadline, found = time.monotonic() + MAX_PAGE_S, list[tuple[str, States]]()
    states = [await each.find_before(start) for each in past]
    for key, place, position in replayed[: query.limit]:
        states[place] = await past[place].find(position)
        found.append((key, _find_shown(states)))
        if time.monotonic() > deadline:
            break
    async with as_organization(pool, caller.org_id) as connection:
        run_ids = await store.find_run_ids(connection, caller.org_id, [key for key, _ in found])
    runs = [write_past_states(run_ids[key], _completed_ms(key), shown) for key, shown in found if key in run_ids]
    if len(found) == len(replayed):
        return StatesPage(runs, complete, 1.0, None)
    last = found[-1][0]
    return StatesPage(runs, complete, days.progress(_completed_ms(last)), cursors.write(last))


class _PlaceHistories:
    """The histories of the default branch in one environment."""

    def __init__(self, histories: CaseHistories) -> None:
        self._run_keys = [run.run_key for run in histories.runs]
        self._runs = histories.evidence_runs.runs
        self._outcomes = histories.outcomes
        self._known = KnownScores(_CACHE_BYTES)

    @property
    def positions(self) -> enumerate[str]:
        """The position and key of each run, newest first."""
        return enumerate(self._run_keys)

    async def find_before(self, run_key: str) -> States:
        """Return the states after the newest run that isn't newer than this one."""
        position = next((position for position, key in self.positions if key <= run_key), None)
        return {} if position is None else await self.find(position)

    async def find(self, position: int) -> States:
        """Return the states of unhealthy cases after the run at this position."""
        run_keys = self._run_keys[position : position + MAX_RUNS]
        end = position + (count_runs(run_keys) or len(run_keys))
        runs, judged = EvidenceRuns(self._runs[position:end]), dict[str, StateValue]()
        outcomes = {case: each[position:end] for case, each in self._outcomes.items()}
        for number, each in enumerate(set(outcomes.values())):
            judged[each] = judge_state(History(each, runs), self._known).value
            if number % _JUDGED_PER_STEP == 0:
                await asyncio.sleep(0)
        return {case: judged[each] for case, each in outcomes.items() if judged[each] != "healthy"}


def _find_shown(of_places: Sequence[States]) -> States:
    shown: dict[CaseKey, StateValue] = {}
    for states in of_places:
        shown |= {case: state for case, state in states.items() if shown.get(case) != "broken"}
    return shown


def _completed_ms(run_key: str) -> int:
    return completed_ms(RunKey(UUID(run_key)))
