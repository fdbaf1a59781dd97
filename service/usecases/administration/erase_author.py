"""Erasure of the name of an author from an organization, in steps that a later call continues after an interruption."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from service.domain.events import STORED, InternalEvent
from service.domain.ids import OrgId, new_id
from service.retries import with_retries
from service.store import audit, authors, events
from service.store.authors import ErasureStep
from service.store.postgres.database import Connection, is_conflict
from service.store.postgres.transactions import notifying_transaction
from service.usecases.administration.administer import ACTOR, find_organization

_MAX_ROWS: Final = 1_000  # per transaction
_LOCK_DELAYS_S: Final = (0.5,) * 20

_Step = Callable[[str, int], Awaitable[ErasureStep]]


class ErasedRows(NamedTuple):
    """The numbers of rows from which a name was erased."""

    runs: int
    events: int
    uploads: int


async def erase_author(connection: Connection, slug: str, author: str) -> ErasedRows:
    """Erase the author of runs, in published events, and in uploads. Raises NotFound.

    Uploads are first, because one that is queued or being processed would store the name again. The audit entry doesn't
    contain the name.
    """
    org_id = await find_organization(connection, slug)
    uploads = await erase_in_steps(connection, partial(authors.erase_in_receipts, connection, org_id, author))
    runs = await _erase_in_runs(connection, org_id, author)
    published = await erase_in_steps(connection, partial(authors.erase_in_events, connection, org_id, author))
    async with connection.transaction():
        await authors.delete_responses(connection, org_id, author)
        await audit.insert(connection, org_id, ACTOR, "organizations erase-author", f"{runs} runs")
    return ErasedRows(runs, published, uploads)


async def _erase_in_runs(connection: Connection, org_id: OrgId, author: str) -> int:
    step = partial(_erase_in_some_runs, connection, org_id, author)
    total = 0
    while erased := await with_retries(step, is_conflict, _LOCK_DELAYS_S):
        total += erased
    return total


async def _erase_in_some_runs(connection: Connection, org_id: OrgId, author: str) -> int:
    """Erase the author of some runs, with an internal event of each, so that exports of changes contain them."""
    async with notifying_transaction(connection):
        runs = await authors.erase_in_runs(connection, org_id, author, _MAX_ROWS)
        if runs:
            changed = [InternalEvent(org_id, new_id("evt"), STORED, project_id, run_id) for project_id, run_id in runs]
            await events.insert_internal(connection, changed)
    return len(runs)


async def erase_in_steps(connection: Connection, erase: _Step) -> int:
    """Call `erase` with the ID after which it continues and the maximum number of rows, each time in a transaction.

    Return the number of erased rows.
    """
    total, after = 0, ""
    while True:
        erased, following = await with_retries(
            partial(_in_transaction, connection, partial(erase, after, _MAX_ROWS)), is_conflict, _LOCK_DELAYS_S
        )
        total += erased
        if following is None:
            return total
        after = following


async def _in_transaction(connection: Connection, step: Callable[[], Awaitable[ErasureStep]]) -> ErasureStep:
    async with connection.transaction():
        return await step()
