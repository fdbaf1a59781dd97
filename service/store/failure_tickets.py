"""Tickets of failure groups."""

from typing import Final

from service.domain.ids import Fingerprint, OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("failure_tickets")


async def set_ticket(connection: Connection, org_id: OrgId, fingerprint: Fingerprint, ticket_url: str | None) -> None:
    """Set the ticket of a group, or delete it if the URL is None."""
    if ticket_url is None:
        await connection.execute(_SQL["delete"], org_id, fingerprint)
    else:
        await connection.execute(_SQL["set"], org_id, fingerprint, ticket_url)
