"""Every statement is valid for the schema."""

import asyncpg
import pytest

from service.database.statements import statements, subjects
from tests.database.composed import all_composed
from tests.stored import Store


async def test_every_statement_is_valid(store: Store) -> None:
    async with store.pool.acquire() as connection:
        for subject in subjects():
            for name, text in statements(subject).items():
                try:
                    await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    pytest.fail(f"{subject}.{name}: {error}")


async def test_every_composed_statement_is_valid(store: Store) -> None:
    async with store.pool.acquire() as connection:
        for statement in all_composed().values():
            await connection.prepare(statement.text)
