"""The clients of CI jobs, whose version is older or newer than that of the server."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fixtures.broker import until
from tests.upgrade.versions import REPORT, TIMEOUT_S, Version, create_key, deployment

pytestmark = pytest.mark.nightly


class Client(NamedTuple):
    """The client of one version, as CI jobs use it."""

    version: Version
    url: str
    key: str

    async def run(self, *arguments: str) -> tuple[int, str]:
        return await self.version.execute(*arguments, RESULTS_URL=self.url, RESULTS_API_KEY=self.key)

    async def report(self, file: Path, run_id: str, *options: str) -> tuple[int, str]:
        await asyncio.to_thread(file.write_bytes, REPORT)
        return await self.run("report", "--run-id", run_id, "--project", "shop", *options, str(file))


async def test_client_of_the_release_works_with_a_new_server(old: Version, new: Version, tmp_path: Path) -> None:
    await new.run("schema", "apply")
    key = await create_key(new, "acme")
    async with deployment() as processes:
        server, consumer = await processes.serve(new), await processes.consume(new)
        client = Client(old, server.url, key)
        tail = old.running("tail", "--json", RESULTS_URL=server.url, RESULTS_API_KEY=key)
        async with tail as tailing:
            options = ("--branch", "main", "--variant", "os:linux", "--label", "a:b", "--wait")
            code, output = await client.report(tmp_path / "report.xml", "run", *options)
            assert code == 0, output
            assert "stored, 2 results" in output

            async def is_printed() -> bool:
                return '"run.completed"' in await asyncio.to_thread(tailing.log.read_text)

            await until(is_printed, "the event", TIMEOUT_S)
        assert (await client.run("gate", "--run-id", "run"))[0] == 1
        assert (await client.run("gate", "--run-id", "run", "--max-failures", "1"))[0] == 0
        file = tmp_path / "results.csv"
        assert await client.run("export", "--run-id", "run", "-o", str(file)) == (0, "")
        assert len(file.read_text().splitlines()) == 3
        for process in (server, consumer):
            await process.stop()


async def test_new_client_states_that_a_server_of_the_release_is_older(
    old: Version, new: Version, tmp_path: Path
) -> None:
    await old.run("schema", "apply")
    key = await create_key(old, "acme")
    async with deployment() as processes:
        server, consumer = await processes.serve(old), await processes.consume(old)
        client = Client(new, server.url, key)
        code, output = await client.report(tmp_path / "report.xml", "run", "--wait")
        assert code == 0, output
        file = str(tmp_path / "results.csv")
        assert await client.run("export", "--run-id", "run", "-o", file) == (0, "")
        refused = [
            await client.run(*arguments)
            for arguments in (
                ("gate", "--run-id", "run"),
                ("export", "-o", file, "--content", "runs"),
            )
        ]
        refused.append(await client.report(tmp_path / "report.xml", "other", "--author", "Ann"))
        assert [code for code, _ in refused] == [3, 1, 1]
        for _, message in refused:
            assert message.count("\n") == 1
            assert message.startswith("Error: ")
            assert "Is the server older than this client?" in message
        for process in (server, consumer):
            await process.stop()
