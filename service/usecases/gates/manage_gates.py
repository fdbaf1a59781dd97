"""Changes of gates, in the caller's transaction. A gate belongs to an organization."""

from service.contracts.gates import GateOut
from service.domain.errors import Forbidden, NotFound
from service.domain.gates import Policy
from service.domain.ids import OrgId
from service.domain.keys import Caller
from service.domain.texts import is_storable, replace_unstorable
from service.store import gates
from service.store.postgres.database import Connection


def organization_of_gates(caller: Caller) -> OrgId:
    """Return the organization whose gates the caller can change. Raises Forbidden if its key is bound to a project."""
    if caller.project_id is not None:
        raise Forbidden(
            f"this key is bound to the project {caller.project_id!r}, and gates belong to the organization; use a key"
            " without a project"
        )
    return caller.org_id


def check_stored_name(name: str) -> None:
    """Raise NotFound if PostgreSQL can't store the name, so that no gate has it."""
    if not is_storable(name):
        raise gate_not_found(name)


async def put_gate(connection: Connection, org_id: OrgId, name: str, policy: Policy) -> bool:
    """Create a gate or replace its policy, and return whether it is new. The version rises only with the policy."""
    return await gates.put(connection, org_id, name, policy)


async def delete_gate(connection: Connection, org_id: OrgId, name: str) -> None:
    """Delete a gate. The decisions of the gate remain."""
    if not await gates.delete(connection, org_id, name):
        raise gate_not_found(name)


async def read_gate(connection: Connection, org_id: OrgId, name: str) -> GateOut:
    """Return one gate. Raises NotFound."""
    gate = await gates.find_one(connection, org_id, name)
    if gate is None:
        raise gate_not_found(name)
    return gate


def gate_not_found(name: str) -> NotFound:
    """Return the same error for a gate that is unknown or of another organization."""
    return NotFound(f"gate {replace_unstorable(name[:100])!r} not found")
