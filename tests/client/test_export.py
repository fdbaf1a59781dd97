"""The export command fetches exactly what the server made, whatever was there before."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.client import commands
from service.client.export import export, fetch
from service.client.http import ServerError
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        await opened.api.store.take(run_event("run_1", [result(f"case {n}") for n in range(50)]), run_event("run_2"))
        yield opened


def url(exports: Exports) -> str:
    return str(exports.api.http.make_url("/"))


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("results*")]


async def finished(exports: Exports) -> Any:
    return await exports.make("csv")


async def test_the_file_is_made_waited_for_and_fetched(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.csv"
    async with exports.working():
        await export(url(exports), exports.api.key, {"format": "csv", "filter": {"run_id": "run_1"}}, target)
    assert len(target.read_text().splitlines()) == 51
    assert left(tmp_path) == ["results.csv"]


async def test_what_was_fetched_before_is_not_fetched_again(exports: Exports, tmp_path: Path) -> None:
    job, target = await finished(exports), tmp_path / "results.csv"
    whole = await exports.file(job)
    part = tmp_path / f"results.csv.{job['id']}.part"
    part.write_bytes(whole[:1000])
    await fetch(url(exports), exports.api.key, job["id"], target)
    assert target.read_bytes() == whole
    part.write_bytes(whole)
    await fetch(url(exports), exports.api.key, job["id"], target)
    assert target.read_bytes() == whole


async def test_a_file_that_arrives_damaged_is_refused(exports: Exports, tmp_path: Path) -> None:
    job, target = await finished(exports), tmp_path / "results.csv"
    (tmp_path / f"results.csv.{job['id']}.part").write_bytes(b"something else")
    with pytest.raises(ServerError, match="sha256 differs"):
        await fetch(url(exports), exports.api.key, job["id"], target)
    assert left(tmp_path) == []


async def test_a_download_goes_on_as_long_as_it_gets_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.export._PAUSE_S", 0)
    async with breaking_off(b"x" * 2_500, 100) as at:
        await fetch(at, "key", "exp_1", tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_bytes() == b"x" * 2_500


async def test_a_download_that_gets_no_further_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.client.export._PAUSE_S", 0)
    part = tmp_path / "results.csv.exp_1.part"
    part.write_bytes(b"x" * 10)
    async with breaking_off(b"x" * 2_500, 0) as at:
        with pytest.raises(ServerError, match="broke off"):
            await fetch(at, "key", "exp_1", tmp_path / "results.csv")
    assert part.read_bytes() == b"x" * 10


@asynccontextmanager
async def breaking_off(data: bytes, after: int) -> AsyncIterator[str]:
    """A server whose answers with the file break off after so many bytes."""

    async def show(_: web.Request) -> web.Response:
        job = {"id": "exp_1", "status": "succeeded", "size": len(data), "rows": 1, "sha256": sha256(data).hexdigest()}
        return web.json_response(job)

    async def send(request: web.Request) -> web.StreamResponse:
        start = request.http_range.start or 0
        response = web.StreamResponse(status=206)
        response.content_length = len(data) - start
        await response.prepare(request)
        await response.write(data[start : start + after])
        if start + after < len(data) and request.transport:
            await asyncio.sleep(0.01)
            request.transport.abort()
        return response

    app = web.Application()
    app.add_routes([web.get("/v1/results/export/exp_1", show), web.get("/v1/results/export/exp_1/file", send)])
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_an_export_that_was_canceled_is_an_error_with_its_state(exports: Exports, tmp_path: Path) -> None:
    asked = await exports.ask()
    await exports.api.send("DELETE", f"/v1/results/export/{asked['id']}")
    with pytest.raises(ServerError, match="is canceled"):
        await fetch(url(exports), exports.api.key, asked["id"], tmp_path / "results.csv")


async def test_the_command_says_what_it_fetched(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.ndjson"
    arguments = ("--format", "ndjson", "--column", "id", "--column", "name", "--status", "passed", "--run-id", "run_1")
    async with exports.working():
        command = await start(exports, *arguments, "-o", str(target))
        _, said = await asyncio.wait_for(command.communicate(), 30)
    assert command.returncode == 0, said
    assert f"50 rows, {target.stat().st_size} bytes, sha256 {sha256(target.read_bytes()).hexdigest()}" in said.decode()


async def test_an_interrupted_export_says_how_to_go_on(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.csv"
    command = await start(exports, "-o", str(target))
    async with asyncio.timeout(30):
        while not (await exports.api.get("/v1/results/export"))["data"]:  # noqa: ASYNC110 - HTTP sets no event
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    command.send_signal(signal.SIGINT)
    _, said = await asyncio.wait_for(command.communicate(), 30)
    [job] = (await exports.api.get("/v1/results/export"))["data"]
    assert f"`zof-results export --export-id {job['id']} -o {target}` goes on from here" in said.decode()
    assert command.returncode == 130
    async with exports.working():
        again = await start(exports, "--export-id", job["id"], "-o", str(target))
        assert await asyncio.wait_for(again.wait(), 30) == 0
    assert len(target.read_text().splitlines()) == 51 + 1


async def test_the_same_command_goes_on_with_the_export_that_was_interrupted(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.ndjson.zst"
    arguments = ("--run-id", "run_1", "--status", "passed", "--from", "2026-05-01", "-o", str(target))
    first = await start(exports, *arguments)
    async with asyncio.timeout(30):
        while not left(tmp_path):  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.05)
    first.send_signal(signal.SIGINT)
    await asyncio.wait_for(first.wait(), 30)
    async with exports.working():
        again = await start(exports, *arguments)
        _, said = await asyncio.wait_for(again.communicate(), 30)
    [job] = (await exports.api.get("/v1/results/export"))["data"]
    assert f"going on with {job['id']}" in said.decode()
    assert (job["format"], job["compression"], job["rows"]) == ("ndjson", "zstd", 50)
    assert left(tmp_path) == [target.name]


async def test_what_is_left_of_another_export_is_no_part_of_this_one(exports: Exports, tmp_path: Path) -> None:
    job, target = await finished(exports), tmp_path / "results.csv"
    (tmp_path / f"results.csv.{job['id']}.part").write_bytes(b"some of it")
    (tmp_path / f"results.csv.exp_{'0' * 32}.part").write_bytes(b"some of what is gone")
    async with exports.working():
        await export(url(exports), exports.api.key, {"format": "csv", "filter": {"run_id": "run_1"}}, target)
    assert len(target.read_text().splitlines()) == 51
    assert left(tmp_path) == ["results.csv"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", ("parquet", None)),
        ("a.b.json.gz", ("json", "gzip")),
        ("a.zst", ("csv", "zstd")),
        ("a", ("csv", None)),
        ("a.txt", ("csv", None)),
    ],
)
def test_the_name_of_the_file_says_its_format(name: str, expected: tuple[str, str | None]) -> None:
    asked: dict[str, Any] = {"form": None, "compression": None}
    form = commands._form(asked, Path(name))
    assert (form["form"], form["compression"]) == expected
    assert commands._form({"form": "json", "compression": "none"}, Path(name)) == {
        "form": "json",
        "compression": "none",
    }


async def test_a_target_that_can_t_be_written_is_one_line(exports: Exports, tmp_path: Path) -> None:
    job = await finished(exports)
    (tmp_path / f"results.csv.{job['id']}.part").mkdir()
    command = await start(exports, "--export-id", job["id"], "-o", str(tmp_path / "results.csv"))
    _, said = await asyncio.wait_for(command.communicate(), 30)
    assert command.returncode == 1
    assert said.decode().splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in said.decode()


async def start(exports: Exports, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "export", *arguments, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "RESULTS_URL": url(exports), "RESULTS_API_KEY": exports.api.key},
    )  # fmt: skip
