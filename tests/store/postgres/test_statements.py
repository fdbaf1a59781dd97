"""Every statement against the schema: it is valid, and it names the organization."""

import re

import asyncpg
import pytest

from service.store.postgres.statements import nouns, statements
from tests.store.composed import all_composed
from tests.stored import Store

# Statements that are about all organizations.
ACROSS_ORGANIZATIONS = {("organizations", "create"), ("organizations", "list_all")}
OWNED = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(organizations|api_keys|runs|cases|results|result_details|artifacts|receipts)\b"
)
WHOLE = [
    (noun, name, text) for noun in nouns() if not noun.startswith("read_") for name, text in statements(noun).items()
]


async def test_every_statement_is_valid(store: Store) -> None:
    async with store.pool.acquire() as connection:
        for noun, name, text in WHOLE:
            try:
                await connection.prepare(text)
            except asyncpg.PostgresError as error:
                pytest.fail(f"{noun}.{name}: {error}")


async def test_every_composed_statement_is_valid(store: Store) -> None:
    async with store.pool.acquire() as connection:
        for statement in all_composed():
            await connection.prepare(statement.text)


@pytest.mark.parametrize(("noun", "name", "text"), WHOLE, ids=lambda value: value if "\n" not in value else "")
def test_every_statement_names_the_organization(noun: str, name: str, text: str) -> None:
    assert "org_id" in text or not OWNED.search(text) or (noun, name) in ACROSS_ORGANIZATIONS


def test_every_composed_statement_names_the_organization() -> None:
    assert all("org_id = $" in statement.text for statement in all_composed())
