"""Erasure of an author or a person from an organization, in steps that a later call continues after an interruption."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from service.database.database import Connection
from service.database.errors import is_conflict
from service.database.transactions import notifying_transaction
from service.domain.errors import NotFound
from service.domain.ids import OrgId, new_id
from service.events import store as events_store
from service.events.model import STORED, InternalEvent
from service.mutations import store as mutations_store
from service.organizations.operations import ACTOR, find_organization
from service.retention import organization_store
from service.retention.organization_store import ErasureStep
from service.retries import with_retries

_MAX_ROWS: Final = 1_000  # per transaction
_LOCK_DELAYS_S: Final = (0.5,) * 20
_Step = Callable[[str, int], Awaitable[ErasureStep]]


class ErasedRows(NamedTuple):
    """The numbers of rows from which a name was erased."""

    runs: int
    events: int
    uploads: int


class ErasedPerson(NamedTuple):
    """The numbers of people, members, and events that were erased."""

    people: int
    members: int
    events: int


async def erase_author(connection: Connection, slug: str, author: str) -> ErasedRows:
    """Erase the author of runs, in published events, and in uploads. Raises NotFound.

    Uploads are first, because one that is queued or being processed would store the name again. The audit entry doesn't
    contain the name.
    """
    org_id = await find_organization(connection, slug)
    uploads = await _erase_in_steps(
        connection, partial(organization_store.erase_in_receipts, connection, org_id, author)
    )
    runs = await _erase_in_runs(connection, org_id, author)
    published = await _erase_in_steps(
        connection, partial(organization_store.erase_author_in_events, connection, org_id, author)
    )
    async with connection.transaction():
        await organization_store.delete_responses_of_author(connection, org_id, author)
        await mutations_store.insert_entry(connection, org_id, ACTOR, "organizations erase-author", f"{runs} runs")
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
        runs = await organization_store.erase_in_runs(connection, org_id, author, _MAX_ROWS)
        if runs:
            changed = [InternalEvent(org_id, new_id("evt"), STORED, project_id, run_id) for project_id, run_id in runs]
            await events_store.insert_internal(connection, changed)
    return len(runs)


async def find_people(connection: Connection, slug: str, email: str) -> list[str]:
    """Return the IDs of the people with this email. Raises NotFound if the organization doesn't exist."""
    return await organization_store.find_ids(connection, await find_organization(connection, slug), email)


async def erase_person(
    connection: Connection, slug: str, person_ids: Sequence[str], emails: Sequence[str] = ()
) -> ErasedPerson:
    """Erase people, and the emails of their members, who are removed. Raises NotFound if there is nothing to erase.

    The audit trail, decisions, excuses, quarantines, and waivers keep the IDs of the people. Their names in published
    events are last, so that no new event contains them. A later call with the IDs continues after an interruption.
    """
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        known = {*emails, *await organization_store.find_emails(connection, org_id, person_ids)}
        removed = await organization_store.erase_members(connection, org_id, person_ids, list(known))
        deleted = await organization_store.delete(connection, org_id, person_ids)
        if not removed and not person_ids:
            raise NotFound(f"organization {slug!r} has no member and no person with this email")
        await organization_store.delete_responses_of_person(connection, org_id, [*known, *person_ids])
        await mutations_store.insert_entry(
            connection, org_id, ACTOR, "organizations erase-person", ", ".join(person_ids) or None
        )
    published = await _erase_in_steps(
        connection, partial(organization_store.erase_person_in_events, connection, org_id, person_ids)
    )
    return ErasedPerson(deleted, removed, published)


async def _erase_in_steps(connection: Connection, erase: _Step) -> int:
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
