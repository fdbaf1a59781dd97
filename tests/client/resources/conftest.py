"""A served API, and the commands as a user runs them."""

from collections.abc import AsyncIterator

import pytest

from tests.client.resources.running import CommandLine
from tests.served import serve


@pytest.fixture
async def command_line(database_url: str) -> AsyncIterator[CommandLine]:
    async with serve(database_url, webhook_allow_loopback=True) as api:
        yield CommandLine(api)
