"""Changes of gates, in the caller's transaction."""

from service.domain.errors import NotFound
from service.domain.gates import Policy
from service.domain.ids import OrgId
from service.domain.texts import replace_unstorable
from service.store import gates
from service.store.postgres.database import Connection


async def put_gate(connection: Connection, org_id: OrgId, name: str, policy: Policy) -> bool:
    """Create a gate or replace its policy, and return whether it is new. The version rises only with the policy."""
    return await gates.put(connection, org_id, name, policy)


async def delete_gate(connection: Connection, org_id: OrgId, name: str) -> None:
    """Delete a gate. The decisions of the gate remain."""
    if not await gates.delete(connection, org_id, name):
        raise gate_not_found(name)


def gate_not_found(name: str) -> NotFound:
    """Return the same error for a gate that is unknown or of another organization."""
    return NotFound(f"gate {replace_unstorable(name[:100])!r} not found")
