"""Members of an organization for tests of the sign-in."""

from service.domain.ids import new_id
from service.identity.keys.model import KeyRole
from tests.served import Api


async def add_member(
    api: Api,
    email: str | None = None,
    group: str | None = None,
    role: KeyRole = "viewer",
    org_id: int = 1,
    project_id: str | None = None,
) -> str:
    """Insert a member, and return its ID."""
    member_id = new_id("mem")
    await api.store.pool.execute(
        "INSERT INTO members (org_id, member_id, email, group_name, role, project_id, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, 'test')",
        org_id, member_id, email, group, role, project_id,
    )  # fmt: skip
    return member_id
