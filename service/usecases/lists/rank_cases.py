"""The rankings of the cases of a project for a caller."""

from service.contracts.queries import CasesQuery
from service.domain.errors import InvalidRequest
from service.domain.keys import Caller
from service.domain.rankings import Ranking
from service.domain.rows import RankedCases
from service.store.postgres.database import Pool, as_organization
from service.store.queries import cases
from service.usecases.lists.list_cases import filter_of_cases


async def rank_cases(pool: Pool, caller: Caller, query: CasesQuery, ranking: Ranking) -> RankedCases:
    """Return the first cases of a ranking, or none if the caller's key is bound to another project.

    Raises InvalidRequest without a project, and for a cursor, because a ranking has one page.
    """
    filter_ = filter_of_cases(caller, query)
    if query.starting_after is not None:
        raise InvalidRequest("starting_after: is not supported with sort, which returns one page", "starting_after")
    if filter_ is None:
        return RankedCases((), truncated=False)
    async with as_organization(pool, caller.org_id) as connection:
        return await cases.list_ranked(connection, caller.org_id, filter_, ranking, query.runs, query.limit)
