"""Members: which memberships a person has, to whom the members of an email are bound, and the erasure of a person."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.database.database import Pool, as_organization, close_pool, open_pool
from service.database.transactions import notifying_transaction
from service.domain.errors import NotFound, Unauthorized
from service.domain.ids import OrgId
from service.identity.keys.model import Caller
from service.identity.members.model import Identity, Membership, NewMember, normalize_email
from service.identity.members.operations import add_as_operator
from service.identity.members.single_sign_on import find_memberships, record_sign_in
from service.mutations import store as mutations_store
from service.organizations import store as organizations_store
from service.quarantines.model import CaseMatcher
from service.quarantines.operations import RequestedQuarantine, create_quarantine
from service.retention.erasure import ErasedPerson, erase_person, find_people
from tests.retention.test_erase_author import tables_with_name
from tests.stored import Store

ISSUER = "https://login.example.org"
ADA = Identity(ISSUER, "1", "ada@example.org", "Ada Byron", ("qa", "all"))
IMPOSTOR = Identity(ISSUER, "2", "ada@example.org", "Also Ada")


async def insert(store: Store, org_id: int, member_id: str, role: str, **values: Any) -> None:
    columns = ["org_id", "member_id", "role", "created_by", *values]
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"INSERT INTO members ({', '.join(columns)}) VALUES ({places})"
    await store.pool.execute(statement, org_id, member_id, role, "command line", *values.values())


@pytest.fixture
async def pool(store: Store, database_url: str) -> AsyncIterator[Pool]:
    """Connections with the role of the API, which is that of the console."""
    opened = await open_pool(database_url, "results_api", 2)
    yield opened
    await close_pool(opened)


async def sign_in(pool: Pool, membership: Membership, identity: Identity) -> str:
    """Return the ID of the person."""
    async with as_organization(pool, membership.org_id) as connection, connection.transaction():
        return await record_sign_in(connection, membership, identity)


@pytest.mark.parametrize("wrong", ["", "ada", "@example.org", "ada@", "a@b@c", "a da@example.org", f"{'a' * 254}@b.de"])
def test_email_is_checked(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be an email address"):
        normalize_email(wrong)


async def test_email_binds_to_the_first_person_and_groups_match_everyone(store: Store, pool: Pool) -> None:
    assert normalize_email(" Ada@Example.ORG ") == ADA.email
    async with store.pool.acquire() as connection:
        other = await organizations_store.create(connection, "another", "Another")
    await insert(store, 1, "mem_1", "viewer", email=ADA.email)
    await insert(store, 1, "mem_2", "engineer", email=ADA.email, project_id="shop")
    await insert(store, 1, "mem_3", "admin", group_name="qa")
    await insert(store, 1, "mem_4", "admin", group_name="others")
    await insert(store, other, "mem_5", "viewer", email=ADA.email)

    async def found(identity: Identity) -> list[tuple[str, str]]:
        return [(each.member_id, each.role) for each in await find_memberships(pool, identity)]

    # mem_3 grants more than mem_1, for the same projects.
    assert await found(ADA) == [("mem_3", "admin"), ("mem_2", "engineer"), ("mem_5", "viewer")]
    assert await found(ADA._replace(email=None, groups=())) == []
    unbound = (await find_memberships(pool, IMPOSTOR))[0]
    ada = await sign_in(pool, (await find_memberships(pool, ADA))[0], ADA)
    assert ada == await sign_in(pool, (await find_memberships(pool, ADA))[0], ADA)
    with pytest.raises(Unauthorized, match="removed"):
        await sign_in(pool, unbound, IMPOSTOR)

    assert await found(IMPOSTOR) == [("mem_5", "viewer")]  # in this organization, Ada hasn't signed in yet
    assert await found(ADA._replace(issuer="https://other.example.org", email=None, groups=())) == []
    renamed = ADA._replace(email="lovelace@example.org", groups=())
    assert await found(renamed) == [("mem_1", "viewer"), ("mem_2", "engineer")]
    await store.pool.execute("UPDATE members SET removed_at = now() WHERE member_id = 'mem_1'")
    assert await found(renamed) == [("mem_2", "engineer")]


async def test_an_erased_person_is_named_nowhere(store: Store, pool: Pool) -> None:
    async with store.pool.acquire() as connection:
        await add_as_operator(connection, "acme", NewMember(ADA.email, None, "engineer"))
        ada = await sign_in(pool, (await find_memberships(pool, ADA))[0], ADA)
        await add_as_operator(connection, "acme", NewMember(IMPOSTOR.email, None, "viewer", "docs"))
        await sign_in(pool, (await find_memberships(pool, IMPOSTOR))[0], IMPOSTOR)
        caller = Caller(OrgId(1), ada, "engineer", None)
        requested = RequestedQuarantine("shop", CaseMatcher(None, "auth"), "unstable", None, None, None)
        async with as_organization(pool, caller.org_id) as requests, notifying_transaction(requests):
            quarantine = await create_quarantine(requests, caller, requested)
        assert (quarantine["created_by"], quarantine["created_by_name"]) == (ada, ADA.name)
        await mutations_store.insert_entry(connection, OrgId(1), ada, "POST /v1/quarantines", quarantine["id"])
        assert (await mutations_store.list_newest(connection, OrgId(1), 1))[0]["actor_name"] == ADA.name
        nameless = ADA._replace(name=None)
        assert await sign_in(pool, (await find_memberships(pool, nameless))[0], nameless) == ada
        assert (await mutations_store.list_newest(connection, OrgId(1), 1))[0]["actor_name"] == ADA.email
        assert set(await tables_with_name(store, "Ada Byron")) == {"events"}

        assert await erase_person(connection, "acme", [ada]) == ErasedPerson(1, 1, 1)
        assert set(await tables_with_name(store, "Ada Byron")) == set()
        # Someone else has the email now.
        assert await tables_with_name(store, ADA.email or "") == {"members": 1, "people": 1}
        assert [entry["actor_name"] for entry in await mutations_store.list_newest(connection, OrgId(1), 2)] == [
            None,
            None,
        ]
        found = await find_people(connection, "acme", ADA.email or "")
        assert await erase_person(connection, "acme", found, [ADA.email or ""]) == ErasedPerson(1, 1, 0)
        assert await tables_with_name(store, ADA.email or "") == {}
        with pytest.raises(NotFound, match="no member and no person"):
            await erase_person(connection, "acme", [], [ADA.email or ""])
