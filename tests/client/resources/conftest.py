"""A served API, and the commands as a user runs them."""

from collections.abc import AsyncIterator

import pytest

from tests.api.served import serve
from tests.client.resources.running import CommandLine


@pytest.fixture
async def command_line(database_url: str) -> AsyncIterator[CommandLine]:
    async with serve(database_url, webhook_allow_loopback=True) as api:
        yield CommandLine(api)
