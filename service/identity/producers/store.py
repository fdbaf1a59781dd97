"""Rows of `producers`: the RabbitMQ users that can send events of an organization or project."""

from typing import Final

from service.database.database import Connection, Row
from service.database.statements import statements
from service.domain.ids import OrgId

_SQL: Final = statements("identity/producers")


async def insert(connection: Connection, org_id: OrgId, user: str, project_id: str | None) -> bool:
    """Register a user for a project, or for all projects. Return False if it is already registered for them."""
    return await connection.fetchval(_SQL["insert"], org_id, user, project_id) is not None


async def list_all(connection: Connection, org_id: OrgId) -> list[Row]:
    """Return the registrations of an organization (user_id, project_id, created_at), sorted by user and project."""
    return await connection.fetch(_SQL["list_all"], org_id)


async def delete(connection: Connection, org_id: OrgId, user: str, project_id: str | None) -> int:
    """Delete the registration of a user for a project, or all of the organization, and return their number."""
    return len(await connection.fetch(_SQL["delete"], org_id, user, project_id))


async def is_registered(connection: Connection, user: str) -> bool:
    """Return whether the user is registered for any organization."""
    return bool(await connection.fetchval(_SQL["is_registered"], user))
