"""Suggestions for the filters of the list of runs: the authors and pull requests of the newest runs."""

from typing import Final

from service.domain.keys import Caller
from service.domain.rows import FilterSuggestions
from service.store.postgres.database import Pool, as_organization
from service.store.queries import runs

_MAX_SUGGESTIONS: Final = 20


async def suggest_filters(pool: Pool, caller: Caller, project_id: str | None) -> FilterSuggestions:
    """Return the newest authors and pull requests of a project, or of all projects that the caller can read."""
    selected = project_id or caller.project_id
    if caller.project_id not in (None, selected):
        return FilterSuggestions((), ())
    async with as_organization(pool, caller.org_id) as connection:
        return await runs.suggest_filters(connection, caller.org_id, selected, _MAX_SUGGESTIONS)
