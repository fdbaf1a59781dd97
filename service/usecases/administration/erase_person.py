"""Erasure of a person from an organization: the name, the email, and the identity at the issuer."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from service.domain.errors import NotFound
from service.store import audit, people
from service.store.postgres.database import Connection
from service.usecases.administration.administer import ACTOR, find_organization
from service.usecases.administration.erase_author import erase_in_steps


class ErasedPerson(NamedTuple):
    """The numbers of people, members, and events that were erased."""

    people: int
    members: int
    events: int


async def find_people(connection: Connection, slug: str, email: str) -> list[str]:
    """Return the IDs of the people with this email. Raises NotFound if the organization doesn't exist."""
    return await people.find_ids(connection, await find_organization(connection, slug), email)


async def erase_person(
    connection: Connection, slug: str, person_ids: Sequence[str], emails: Sequence[str] = ()
) -> ErasedPerson:
    """Erase people, and the emails of their members, who are removed. Raises NotFound if there is nothing to erase.

    The audit trail, decisions, quarantines, and waivers keep the IDs of the people. Their names in published events are
    last, so that no new event contains them. A later call with the IDs continues after an interruption.
    """
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        known = {*emails, *await people.find_emails(connection, org_id, person_ids)}
        removed = await people.erase_members(connection, org_id, person_ids, list(known))
        deleted = await people.delete(connection, org_id, person_ids)
        if not removed and not person_ids:
            raise NotFound(f"organization {slug!r} has no member and no person with this email")
        await people.delete_responses(connection, org_id, [*known, *person_ids])
        await audit.insert(connection, org_id, ACTOR, "organizations erase-person", ", ".join(person_ids) or None)
    published = await erase_in_steps(connection, partial(people.erase_in_events, connection, org_id, person_ids))
    return ErasedPerson(deleted, removed, published)
