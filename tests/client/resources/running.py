"""The commands for users, run in the test process against a served API."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner, Result

from service.client.__main__ import client
from tests.served import Api


@dataclass
class CommandLine:
    """The command line of a user with an admin key."""

    api: Api

    async def invoke(self, *arguments: str, entered: str = "", **variables: str) -> Result:
        """Run a command without a terminal, with this text on stdin."""
        environment = {
            "RESULTS_URL": str(self.api.http.make_url("/")), "RESULTS_API_KEY": self.api.key, "COLUMNS": "200",
            "RESULTS_PROJECT": "", **variables,
        }  # fmt: skip
        return await asyncio.to_thread(CliRunner(env=environment).invoke, client, arguments, input=entered)

    async def run(self, *arguments: str, **variables: str) -> str:
        """Return the stdout of a command that succeeds."""
        result = await self.invoke(*arguments, **variables)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    async def run_json(self, *arguments: str, **variables: str) -> list[Any]:
        """Return the objects that a command prints with --json."""
        return [json.loads(line) for line in (await self.run(*arguments, "--json", **variables)).splitlines()]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table, whose columns at least two spaces separate."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def fields(text: str) -> dict[str, str]:
    """Return the fields of one object."""
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in text.splitlines())}
