"""Execution of a command with the settings of the environment and a connection to the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service import log
from service.commands import print_warnings
from service.resources import database_connection, database_errors_explained, database_url
from service.settings import Settings, names_in_use, read_settings, unknown_variables
from service.store.postgres.database import Connection

T = TypeVar("T")


def with_connection(work: Callable[[Connection], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_connection(settings, "results_worker") as connection:
            return await work(connection)

    return run


def with_database_url(work: Callable[[str], Awaitable[T]]) -> Callable[[Settings], Awaitable[T]]:
    async def run(settings: Settings) -> T:
        async with database_errors_explained():
            return await work(database_url(settings))

    return run


def run(work: Callable[[Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        print_warnings(unknown_variables(names_in_use()))
        settings = read_settings()
        log.set_up(settings.log_level)
        return await work(settings)

    return asyncio.run(run())
