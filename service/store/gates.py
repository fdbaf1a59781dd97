"""Gates: their policies and versions."""

from typing import Final, NamedTuple

from service.contracts.gates import GateOut
from service.domain.gates import Policy
from service.domain.ids import OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage, find_object, parse_page

_SQL: Final = statements("gates")


class VersionedPolicy(NamedTuple):
    """A version of the policy of a gate."""

    version: int
    policy: Policy


async def put(connection: Connection, org_id: OrgId, name: str, policy: Policy) -> bool:
    """Create a gate or replace its policy. Return whether the gate didn't exist. Requires a transaction."""
    fields = policy.gate_fields()
    if await connection.fetchval(_SQL["insert"], org_id, name, fields):
        return True
    was_deleted: bool = await connection.fetchval(_SQL["lock"], org_id, name)
    await connection.execute(_SQL["replace"], org_id, name, fields)
    return was_deleted


async def delete(connection: Connection, org_id: OrgId, name: str) -> bool:
    """Delete a gate. Return False if it doesn't exist."""
    return await connection.fetchval(_SQL["delete"], org_id, name) is not None


async def find_policy(connection: Connection, org_id: OrgId, name: str) -> VersionedPolicy | None:
    """Return the current policy of a gate, or None if the gate doesn't exist."""
    row = await connection.fetchrow(_SQL["find"], org_id, name)
    return VersionedPolicy(row["version"], Policy(**row["policy"])) if row else None


async def find_one(connection: Connection, org_id: OrgId, name: str) -> GateOut | None:
    """Return one gate, or None if it doesn't exist."""
    found: GateOut | None = await find_object(connection, "one_gate", {"org_id": org_id, "name": name})
    return found


async def list_page(connection: Connection, org_id: OrgId, after: str | None, limit: int) -> RowPage[GateOut, str]:
    """Return the next gates in the order of their names."""
    values = {"org_id": org_id, "after": after or "", "page": limit}
    return parse_page(await compose("page_of_gates").fetch_row(connection, values))
