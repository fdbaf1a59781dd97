"""The export command stores exactly the file that the server created."""

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

from service.client import export as exports_client
from service.client.http import ServerError
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event

pytestmark = pytest.mark.slow

TIMEOUT_S = 60


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        await opened.api.store.ingest(run_event("run_1", [result(f"case {n}") for n in range(50)]), run_event("run_2"))
        yield opened


def url(exports: Exports) -> str:
    return str(exports.api.http.make_url("/"))


async def export(at: str, key: str, request: Any, target: Path) -> None:
    await asyncio.to_thread(exports_client.export, at, key, request, target, TIMEOUT_S)


async def fetch(at: str, key: str, export_id: str, target: Path) -> None:
    await asyncio.to_thread(exports_client.fetch, at, key, export_id, target, TIMEOUT_S)


async def test_export_of_an_unknown_run_is_an_error_and_writes_no_file(exports: Exports, tmp_path: Path) -> None:
    async with exports.running_worker():
        with pytest.raises(ServerError, match=r"run 'run 9' not found \(404\)"):
            await export(
                url(exports),
                exports.api.key,
                {"format": "csv", "filter": {"run_id": "run 9"}},
                tmp_path / "results.csv",
            )
    assert result_files(tmp_path) == []
    assert await exports.api.list_all("/v1/results/export") == []


def result_files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("results*")]


async def finished_export(exports: Exports) -> Any:
    return await exports.run("csv")


async def test_export_waits_for_the_file_and_downloads_it(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.csv"
    async with exports.running_worker():
        await export(url(exports), exports.api.key, {"format": "csv", "filter": {"run_id": "run_1"}}, target)
    assert len(target.read_text().splitlines()) == 51
    assert result_files(tmp_path) == ["results.csv"]


async def test_downloaded_bytes_are_not_downloaded_again(exports: Exports, tmp_path: Path) -> None:
    job, target = await finished_export(exports), tmp_path / "results.csv"
    content = await exports.file(job)
    part = tmp_path / f"results.csv.{job['id']}.part"
    part.write_bytes(content[:1000])
    await fetch(url(exports), exports.api.key, job["id"], target)
    assert target.read_bytes() == content
    part.write_bytes(content)
    await fetch(url(exports), exports.api.key, job["id"], target)
    assert target.read_bytes() == content


async def test_damaged_file_is_rejected(exports: Exports, tmp_path: Path) -> None:
    job, target = await finished_export(exports), tmp_path / "results.csv"
    (tmp_path / f"results.csv.{job['id']}.part").write_bytes(b"something else")
    with pytest.raises(ServerError, match="sha256 mismatch"):
        await fetch(url(exports), exports.api.key, job["id"], target)
    assert result_files(tmp_path) == []


async def test_download_resumes_as_long_as_it_receives_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.export._PAUSE_S", 0)
    async with disconnecting_server(b"x" * 2_500, 100) as at:
        await fetch(at, "key", "exp_1", tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_bytes() == b"x" * 2_500


async def test_stalled_download_keeps_the_received_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.export._PAUSE_S", 0)
    part = tmp_path / "results.csv.exp_1.part"
    part.write_bytes(b"x" * 10)
    async with disconnecting_server(b"x" * 2_500, 0) as at:
        with pytest.raises(ServerError, match="incomplete response"):
            await fetch(at, "key", "exp_1", tmp_path / "results.csv")
    assert part.read_bytes() == b"x" * 10


@asynccontextmanager
async def disconnecting_server(data: bytes, after: int) -> AsyncIterator[str]:
    """Serve an export, and close the connection after `after` bytes of each response with the file.

    The server rejects requests for a compressed file, because their positions wouldn't be those of the file.
    """

    async def show(_: web.Request) -> web.Response:
        job = {"id": "exp_1", "status": "succeeded", "size": len(data), "rows": 1, "sha256": sha256(data).hexdigest()}
        return web.json_response(job)

    async def send(request: web.Request) -> web.StreamResponse:
        if request.headers["Accept-Encoding"] != "identity":
            return web.Response(status=406)
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


async def test_canceled_export_is_an_error_with_its_status_and_leaves_no_file(exports: Exports, tmp_path: Path) -> None:
    job = await exports.request()
    await exports.api.send("DELETE", f"/v1/results/export/{job['id']}")
    with pytest.raises(ServerError, match="is canceled"):
        await fetch(url(exports), exports.api.key, job["id"], tmp_path / "results.csv")
    assert result_files(tmp_path) == []


async def test_export_that_is_not_finished_in_time_is_an_error_and_can_be_continued(
    exports: Exports, tmp_path: Path
) -> None:
    target = tmp_path / "results.csv"
    command = await start(exports, "--run-id", "run_1", "--timeout", "1", "-o", str(target))
    _, output = await asyncio.wait_for(command.communicate(), 30)
    [job] = (await exports.api.get("/v1/results/export"))["data"]
    assert command.returncode == 1
    assert output.decode() == (
        f"Error: export {job['id']} is queued after 1 s. The server finishes it later: {url(exports)}readyz shows"
        f" whether a consumer of exports runs. To continue, run: zof-results export --export-id {job['id']} -o"
        f" {target}\n"
    )
    async with exports.running_worker():
        again = await start(exports, "--export-id", job["id"], "--timeout", "30", "-o", str(target))
        assert await asyncio.wait_for(again.wait(), 30) == 0
    assert len(target.read_text().splitlines()) == 51


async def test_command_prints_the_size_and_sha256(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.ndjson"
    arguments = ("--format", "ndjson", "--column", "id", "--column", "name", "--status", "passed", "--run-id", "run_1")
    async with exports.running_worker():
        command = await start(exports, *arguments, "-o", str(target))
        _, output = await asyncio.wait_for(command.communicate(), 30)
    assert command.returncode == 0, output
    assert (
        f"50 rows, {target.stat().st_size} bytes, sha256 {sha256(target.read_bytes()).hexdigest()}" in output.decode()
    )


async def test_interrupted_export_prints_how_to_continue(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.csv"
    command = await start(exports, "-o", str(target))
    async with asyncio.timeout(30):
        while not (await exports.api.get("/v1/results/export"))["data"]:  # noqa: ASYNC110 - HTTP sets no event
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    command.send_signal(signal.SIGINT)
    _, output = await asyncio.wait_for(command.communicate(), 30)
    [job] = (await exports.api.get("/v1/results/export"))["data"]
    assert f"To continue, run: zof-results export --export-id {job['id']} -o {target}" in output.decode()
    assert command.returncode == 130
    async with exports.running_worker():
        again = await start(exports, "--export-id", job["id"], "-o", str(target))
        assert await asyncio.wait_for(again.wait(), 30) == 0
    assert len(target.read_text().splitlines()) == 51 + 1


async def test_repeated_command_continues_the_interrupted_export(exports: Exports, tmp_path: Path) -> None:
    target = tmp_path / "results.ndjson.zst"
    arguments = ("--run-id", "run_1", "--status", "passed", "--from", "2026-05-01", "-o", str(target))
    first = await start(exports, *arguments)
    async with asyncio.timeout(30):
        while not result_files(tmp_path):  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.05)
    first.send_signal(signal.SIGINT)
    await asyncio.wait_for(first.wait(), 30)
    async with exports.running_worker():
        again = await start(exports, *arguments)
        _, output = await asyncio.wait_for(again.communicate(), 30)
    [job] = (await exports.api.get("/v1/results/export"))["data"]
    assert f"continuing the interrupted export {job['id']}" in output.decode()
    assert (job["format"], job["compression"], job["rows"]) == ("ndjson", "zstd", 50)
    assert result_files(tmp_path) == [target.name]


async def test_remains_of_another_export_are_deleted(exports: Exports, tmp_path: Path) -> None:
    job, target = await finished_export(exports), tmp_path / "results.csv"
    (tmp_path / f"results.csv.{job['id']}.part").write_bytes(b"some of it")
    (tmp_path / f"results.csv.exp_{'0' * 32}.part").write_bytes(b"some of a deleted export")
    async with exports.running_worker():
        await export(url(exports), exports.api.key, {"format": "csv", "filter": {"run_id": "run_1"}}, target)
    assert len(target.read_text().splitlines()) == 51
    assert result_files(tmp_path) == ["results.csv"]


@pytest.mark.parametrize("output", ["-", "link"])
async def test_stdout_gets_only_the_bytes_of_the_file(exports: Exports, tmp_path: Path, output: str) -> None:
    job, link = await finished_export(exports), tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")  # like /dev/stdout, which a defect must not replace
    target = str(link) if output == "link" else output
    command = await start(exports, "--export-id", job["id"], "-o", target, stdout=asyncio.subprocess.PIPE)
    written, messages = await asyncio.wait_for(command.communicate(), 30)
    assert command.returncode == 0, messages
    assert written == await exports.file(job)
    assert link.is_symlink()


async def test_stdout_that_is_redirected_to_a_file_keeps_its_earlier_content(exports: Exports, tmp_path: Path) -> None:
    job, redirected, link = await finished_export(exports), tmp_path / "results.log", tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    redirected.write_bytes(b"earlier\n")
    with redirected.open("ab") as file:
        command = await start(exports, "--export-id", job["id"], "-o", str(link), stdout=file)
    assert await asyncio.wait_for(command.wait(), 30) == 0
    assert redirected.read_bytes() == b"earlier\n" + await exports.file(job)


async def test_pipe_is_written_directly_and_its_link_stays(exports: Exports, tmp_path: Path) -> None:
    job, link, pipe = await finished_export(exports), tmp_path / "results.csv", tmp_path / "pipe"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    await fetch(url(exports), exports.api.key, job["id"], link)
    assert await asyncio.wait_for(reading, 30) == await exports.file(job)
    assert link.readlink() == pipe
    assert pipe.is_fifo()
    assert result_files(tmp_path) == ["results.csv"]


async def test_file_that_a_link_names_is_replaced_and_the_link_stays(exports: Exports, tmp_path: Path) -> None:
    job, link = await finished_export(exports), tmp_path / "results.csv"
    (tmp_path / "real").mkdir()
    link.symlink_to("real/data.csv")
    for _ in range(2):
        await fetch(url(exports), exports.api.key, job["id"], link)
    assert str(link.readlink()) == "real/data.csv"
    assert (tmp_path / "real/data.csv").read_bytes() == await exports.file(job)
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["data.csv"]


async def test_stream_is_resumed_after_a_lost_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.export._PAUSE_S", 0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    async with disconnecting_server(b"x" * 2_500, 100) as at:
        await fetch(at, "key", "exp_1", pipe)
    assert await asyncio.wait_for(reading, 30) == b"x" * 2_500


async def test_unwritable_target_is_a_one_line_error(exports: Exports, tmp_path: Path) -> None:
    job = await finished_export(exports)
    (tmp_path / f"results.csv.{job['id']}.part").mkdir()
    command = await start(exports, "--export-id", job["id"], "-o", str(tmp_path / "results.csv"))
    _, output = await asyncio.wait_for(command.communicate(), 30)
    assert command.returncode == 1
    assert output.decode().splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in output.decode()


async def start(exports: Exports, *arguments: str, stdout: Any = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "export", *arguments, stdout=stdout, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "RESULTS_URL": url(exports), "RESULTS_API_KEY": exports.api.key},
    )  # fmt: skip
