"""The newest exchanges of ID tokens for keys, accepted and refused ones."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from service.contracts.publishers import TokenExchange
from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("token_exchanges")

RETAINED: Final = 100  # per organization


class NewExchange(NamedTuple):
    """An exchange of an authentic token of a repository that a publisher names, in the order of the columns.

    A refused one has no key, and the project of the publisher that the token would have needed.
    """

    publisher_id: str | None
    issuer: str
    token_sha256: bytes
    job: str
    project_id: str | None
    key_id: str | None
    refusal: str | None
    claims: Mapping[str, Any]


async def insert(connection: Connection, org_id: OrgId, exchange: NewExchange) -> None:
    """Insert an exchange."""
    await connection.execute(_SQL["insert"], org_id, *exchange)


async def list_newest(
    connection: Connection, org_id: OrgId, project_id: str | None, publisher_id: str | None
) -> list[TokenExchange]:
    """Return those of the newest exchanges of the organization with this project and publisher, newest first."""
    rows = await connection.fetch(_SQL["list_newest"], org_id, project_id, publisher_id, RETAINED)
    return [cast("TokenExchange", dict(row)) for row in rows]


async def delete_outdated(connection: Connection, limit: int) -> int:
    """Delete at most `limit` exchanges that aren't among the newest ones of an organization. Return the number."""
    return int(await connection.fetchval(_SQL["delete_outdated"], RETAINED, limit))
