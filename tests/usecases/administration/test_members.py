"""Members: which memberships a person has, and to whom the members of an email are bound."""

from typing import Any

import pytest

from service.domain.errors import Unauthorized
from service.domain.ids import OrgId
from service.domain.members import Identity, normalize_email
from service.store import organizations
from service.store.postgres.database import as_organization, close_pool, open_pool
from service.usecases.administration.members import find_memberships, record_sign_in
from tests.stored import Store

ISSUER = "https://login.example.org"
ADA = Identity(ISSUER, "1", "ada@example.org", "Ada", ("qa", "all"))
IMPOSTOR = Identity(ISSUER, "2", "ada@example.org", "Also Ada")


async def insert(store: Store, org_id: int, member_id: str, role: str, **values: Any) -> None:
    columns = ["org_id", "member_id", "role", "created_by", *values]
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"INSERT INTO members ({', '.join(columns)}) VALUES ({places})"
    await store.pool.execute(statement, org_id, member_id, role, "command line", *values.values())


@pytest.mark.parametrize("wrong", ["", "ada", "@example.org", "ada@", "a@b@c", "a da@example.org", f"{'a' * 254}@b.de"])
def test_email_is_checked(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be an email address"):
        normalize_email(wrong)


async def test_email_binds_to_the_first_person_and_groups_match_everyone(store: Store, database_url: str) -> None:
    assert normalize_email(" Ada@Example.ORG ") == ADA.email
    async with store.pool.acquire() as connection:
        other = await organizations.create(connection, "another", "Another")
    await insert(store, 1, "mem_1", "viewer", email=ADA.email)
    await insert(store, 1, "mem_2", "engineer", email=ADA.email, project_id="shop")
    await insert(store, 1, "mem_3", "admin", group_name="qa")
    await insert(store, 1, "mem_4", "admin", group_name="others")
    await insert(store, other, "mem_5", "viewer", email=ADA.email)
    pool = await open_pool(database_url, "results_api", 2)
    try:

        async def found(identity: Identity) -> list[tuple[str, str]]:
            return [(each.member_id, each.role) for each in await find_memberships(pool, identity)]

        # mem_3 grants more than mem_1, for the same projects.
        assert await found(ADA) == [("mem_3", "admin"), ("mem_2", "engineer"), ("mem_5", "viewer")]
        assert await found(ADA._replace(email=None, groups=())) == []
        memberships = await find_memberships(pool, IMPOSTOR)
        async with as_organization(pool, OrgId(1)) as connection:
            ada = await record_sign_in(connection, (await find_memberships(pool, ADA))[0], ADA)
            assert ada == await record_sign_in(connection, (await find_memberships(pool, ADA))[0], ADA)
            with pytest.raises(Unauthorized, match="removed"):
                await record_sign_in(connection, memberships[0], IMPOSTOR)

        assert await found(IMPOSTOR) == [("mem_5", "viewer")]  # in this organization, Ada hasn't signed in yet
        renamed = ADA._replace(email="lovelace@example.org", groups=())
        assert await found(renamed) == [("mem_1", "viewer"), ("mem_2", "engineer")]
        await store.pool.execute("UPDATE members SET removed_at = now() WHERE member_id = 'mem_1'")
        assert await found(renamed) == [("mem_2", "engineer")]
    finally:
        await close_pool(pool)
