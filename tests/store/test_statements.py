"""Every statement against the schema: it is valid, and it names the organization."""

import asyncpg
import pytest

from service.store import pieces
from service.store.pieces import compose
from service.store.statements import nouns, statements
from tests.store.composed import all_composed

# Statements that are about no organization, or about all of them.
ACROSS_ORGANIZATIONS = {
    "organizations": {"create", "list_all"},
    "partitions": {"make_month"},
    "heartbeats": {"beat", "leave", "live_roles"},
    "events": {"lock_numbers", "announce_numbers", "announce_written"},
    "outbox": set(statements("outbox")),
}
WHOLE = [
    (noun, name, text) for noun in nouns() if not noun.startswith("read_") for name, text in statements(noun).items()
]


async def test_every_statement_is_valid(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for noun, name, text in WHOLE:
        try:
            await connection.prepare(text)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{noun}.{name}: {error}")
    await connection.close()


async def test_every_composed_statement_is_valid(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for statement in all_composed():
        await connection.prepare(statement.text)
    await connection.close()


def test_every_piece_is_used() -> None:
    everything = "\n".join(statement.text for statement in all_composed())
    for name, text in pieces._PIECES.items():
        if "{" not in text:
            first_words = compose(name).text.split(":")[0].split("$")[0][:40]
            assert first_words in everything, name


@pytest.mark.parametrize(("noun", "name", "text"), WHOLE, ids=lambda value: value if "\n" not in value else "")
def test_every_statement_names_the_organization(noun: str, name: str, text: str) -> None:
    assert "org_id" in text or name in ACROSS_ORGANIZATIONS.get(noun, set())


def test_every_composed_statement_names_the_organization() -> None:
    assert all("org_id = $" in statement.text for statement in all_composed())
