"""Decisions of gates for a caller: a page of the list, and one of them."""

from typing import Final

from service.contracts.gates import Decision, DecisionQuery
from service.domain.cursors import Cursors, ids
from service.domain.keys import Caller
from service.store import decisions
from service.store.decisions import DecisionFilter
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage
from service.usecases.gates.decide import decision_ref, read_decision
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = ids("dec")


async def list_decisions(pool: Pool, caller: Caller, query: DecisionQuery) -> ListPage[Decision]:
    """Return decisions, newest first. Raises InvalidRequest for a cursor of another list."""
    filter_ = DecisionFilter(query.run_id, query.gate, query.decision, caller.project_id)

    async def read(connection: Connection, before: str | None) -> RowPage[Decision, str]:
        return await decisions.list_page(connection, caller.org_id, filter_, before, query.limit)

    cursors = Cursors(_CODEC, "decisions", caller.org_id, filter_._asdict())
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_decision(pool: Pool, caller: Caller, decision_id: str) -> Decision:
    """Return one decision. Raises NotFound."""
    ref = decision_ref(caller, decision_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_decision(connection, ref)
