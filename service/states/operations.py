"""States of cases for a caller: those of listed cases, and how many cases of a project are unhealthy."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from service.database.database import Pool, as_organization
from service.domain.ids import CaseKey
from service.identity.keys.model import Caller
from service.states import store
from service.states.model import StateValue


async def find_states(pool: Pool, caller: Caller, cases: Iterable[CaseKey]) -> Mapping[StateValue, set[CaseKey]]:
    """Return the unhealthy ones of cases that the caller has read, by their shown states."""
    states: dict[StateValue, set[CaseKey]] = defaultdict(set)
    async with as_organization(pool, caller.org_id) as connection:
        for worst in await store.find_worst(connection, caller.org_id, list(cases)):
            states[worst.value].add(worst.case_key)
    return states


async def count_states(pool: Pool, caller: Caller, project_id: str) -> Mapping[StateValue, int]:
    """Return how many cases of a project are broken and flaky, or nothing if the caller can't read the project."""
    if caller.project_id not in (None, project_id):
        return {}
    async with as_organization(pool, caller.org_id) as connection:
        return await store.count_shown(connection, caller.org_id, project_id)
