"""Registration of producers by an operator: RabbitMQ users that can send events of an organization."""

from service.database.database import Connection, Row
from service.domain.errors import Conflict, NotFound
from service.identity.producers import store
from service.mutations import store as mutations_store
from service.organizations.operations import ACTOR, find_organization


async def add_producer(connection: Connection, slug: str, user: str, project_id: str | None) -> None:
    """Register a RabbitMQ user for a project, or for all projects. Raises NotFound, and Conflict if it's registered."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        if not await store.insert(connection, org_id, user, project_id):
            raise Conflict(f"user {user!r} is already registered for {_describe(slug, project_id)}")
        await mutations_store.insert_entry(connection, org_id, ACTOR, "producers add", _subject(user, project_id))


async def list_producers(connection: Connection, slug: str) -> list[Row]:
    """Return the registrations of an organization. Raises NotFound if the organization doesn't exist."""
    return await store.list_all(connection, await find_organization(connection, slug))


async def remove_producer(connection: Connection, slug: str, user: str, project_id: str | None) -> bool:
    """Remove the registration for a project, or all of the organization. Return whether the user has others.

    Raises NotFound if the user has no such registration.
    """
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        if not await store.delete(connection, org_id, user, project_id):
            raise NotFound(f"user {user!r} isn't registered for {_describe(slug, project_id)}")
        await mutations_store.insert_entry(connection, org_id, ACTOR, "producers remove", _subject(user, project_id))
        return await store.is_registered(connection, user)


def _describe(slug: str, project_id: str | None) -> str:
    return f"project {project_id!r} of organization {slug!r}" if project_id else f"organization {slug!r}"


def _subject(user: str, project_id: str | None) -> str:
    return f"{user} ({project_id})" if project_id else user
