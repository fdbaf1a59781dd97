"""Members of an organization: their sign-in, creation, change, and removal. The caller owns the transactions."""

from service.domain.errors import Unauthorized
from service.domain.ids import new_id
from service.domain.members import Identity, Membership, strongest_memberships
from service.store import members
from service.store.postgres.database import Connection, Pool


async def find_memberships(pool: Pool, identity: Identity) -> list[Membership]:
    """Return the memberships of a person, of which the person chooses one, sorted by organization and project.

    A member of an email matches the person who signed in with it first, and before that anyone whose verified email it
    is. A member of a group matches everyone in the group.
    """
    return strongest_memberships(await members.find_memberships(pool, identity))


async def record_sign_in(connection: Connection, membership: Membership, identity: Identity) -> str:
    """Record a person who signs in with a membership, and return the ID of the person (per_…).

    Binds the members with the email of the person to the person. Raises Unauthorized if the membership was removed, or
    bound to another person, since it was found. The connection must be that of the organization of the membership.
    """
    person_id = await members.record_person(connection, membership.org_id, new_id("per"), identity)
    if identity.email is not None:
        await members.bind_email(connection, membership.org_id, person_id, identity.email)
    if not await members.confirm(connection, membership, person_id, list(identity.groups)):
        raise Unauthorized("the membership was removed; sign in again")
    return person_id
