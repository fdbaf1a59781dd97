"""The client archive runs with nothing but Python, and its bytes depend only on its content."""

import asyncio
import hashlib
import re
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from service.api import client_files
from service.client import archive
from service.client.archive import ArchiveError
from service.client.built_commit import VARIABLE
from service.client.wheel_hook import WheelHook
from service.events.operations import number_events
from service.version import find_version
from tests.builds import ROOT
from tests.exporting import Exports, exporting
from tests.report_api import PASSING
from tests.run_events import result, run_event

TIMEOUT_S = 60
PACKAGES = ("certifi", "click", "h11", "httpcore", "httpx", "idna")
COMMIT = "1f0c9ab2d4e5f60718293a4b5c6d7e8f90123456"


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist") / "zof-results-client.pyz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, COMMIT)
        archive.build(target)
    return target


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        yield opened


@pytest.fixture(params=["oldest Python", "this Python"])
def python(request: pytest.FixtureRequest) -> str:
    """The Python that runs the archive."""
    if request.param == "this Python":
        return sys.executable
    found = [shutil.which("python3.10"), *map(str, Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"))]
    for path in filter(None, found):
        if subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0:  # a shim can fail
            return path
    pytest.skip("python3.10 isn't installed")


async def start(python: str, pyz: Path, exports: Exports, *arguments: str) -> Process:
    """Start the archive in an empty environment, without site-packages."""
    environment = {"RESULTS_URL": str(exports.api.http.make_url("/")), "RESULTS_API_KEY": exports.api.key}
    command = (python, "-I", "-S", str(pyz), *arguments)
    return await asyncio.create_subprocess_exec(*command, env=environment, cwd=pyz.parent, stdout=PIPE, stderr=PIPE)


async def run(python: str, pyz: Path, exports: Exports, *arguments: str) -> str:
    process = await start(python, pyz, exports, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.slow
async def test_every_command_runs_without_packages(python: str, pyz: Path, exports: Exports, tmp_path: Path) -> None:
    report, target = tmp_path / "junit.xml", tmp_path / "results.csv"
    report.write_bytes(PASSING)
    uploaded = await run(python, pyz, exports, "report", str(report), "--run-id", "uploaded", "--project", "shop")
    assert uploaded.startswith(f"{report}: queued (rcp_")

    await exports.api.store.ingest(run_event("run_1", [result("pays"), result("ships")]))
    assert (await run(python, pyz, exports, "gate", "--run-id", "run_1")).startswith("passed: run run_1 (passed)")

    async with exports.running_worker():
        await run(python, pyz, exports, "export", "-o", str(target), "--run-id", "run_1")
    assert len(target.read_text().splitlines()) == 1 + 2

    await number_events(exports.api.store.pool)
    process = await start(python, pyz, exports, "tail", "--type", "run.completed")
    try:
        assert process.stdout is not None
        printed = asyncio.create_task(process.stdout.readline())
        for number in range(100):  # nothing signals that the command is connected
            await exports.api.store.ingest(run_event(f"later_{number}"))
            await number_events(exports.api.store.pool)
            done, _ = await asyncio.wait({printed}, timeout=0.5)
            if done:
                break
        assert b"run.completed" in await asyncio.wait_for(printed, TIMEOUT_S)
    finally:
        process.kill()
        await process.communicate()


async def test_archive_contains_only_the_user_commands(python: str, pyz: Path, exports: Exports) -> None:
    _, _, commands = (await run(python, pyz, exports, "--help")).partition("Commands:\n")
    assert [line.split()[0] for line in commands.splitlines()] == [
        "backtest", "cases", "comment", "export", "failed", "gate", "gates", "projects", "promote", "quarantines",
        "report", "run", "runs", "split", "tail", "webhooks",
    ]  # fmt: skip
    printed = await run(python, pyz, exports, "--version")
    assert printed == f"zof-results {find_version()} (commit {COMMIT[:10]})\n"


async def test_archive_lists_runs_and_completes_names(python: str, pyz: Path, exports: Exports) -> None:
    await exports.api.store.ingest(run_event("run_1"))
    header, row = (await run(python, pyz, exports, "runs", "list")).splitlines()
    assert (header.split()[0], row.split()[:3]) == ("RUN", ["run_1", "shop", "passed"])
    variables = {"_ZOF_RESULTS_COMPLETE": "bash_complete", "COMP_WORDS": "zof-results runs co", "COMP_CWORD": "2"}
    process = await asyncio.create_subprocess_exec(python, "-I", "-S", str(pyz), env=variables, stdout=PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert out == b"plain,complete\n"


def test_repeated_build_has_the_same_bytes(pyz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, COMMIT)
    again = tmp_path / "again" / pyz.name
    digest = archive.build(again)
    assert again.read_bytes() == pyz.read_bytes()
    assert digest == hashlib.sha256(pyz.read_bytes()).hexdigest()
    assert again.with_name(f"{pyz.name}.sha256").read_text() == f"{digest}  {pyz.name}\n"


def test_concurrent_builds_of_one_checkout_succeed(pyz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, COMMIT)
    target = tmp_path / pyz.name
    with ProcessPoolExecutor(4, get_context("spawn")) as processes:
        digests = set(processes.map(archive.build, [target] * 8))
    assert digests == {hashlib.sha256(pyz.read_bytes()).hexdigest()}
    assert target.read_bytes() == pyz.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {pyz.name, f"{pyz.name}.sha256"}


def test_import_of_another_package_is_an_error(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f() -> None:\n    from pydantic import BaseModel\n")
    with pytest.raises(ArchiveError, match=r"imports pydantic, which isn't part of the client archive"):
        list(archive._imported_files(module, archive.read_packages()))


@pytest.mark.parametrize(
    ("name", "message"),
    [("httpx", r"httpx \S+ is installed, but 0\.0\.1 is locked"), ("absent-package", r"absent-package 0\.0\.1 isn't")],
)
def test_build_of_a_wheel_fails_without_the_locked_packages(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    packages = archive.read_packages()
    monkeypatch.setattr(archive, "read_packages", lambda: {**packages, name: "0.0.1"})
    with pytest.raises(ArchiveError, match=message):
        included_files("standard")


def test_build_system_requires_the_locked_versions_of_the_packages() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert archive.read_packages() == {name: locked[name] for name in PACKAGES}


def test_wheel_contains_the_archive_where_the_api_finds_it(pyz: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, COMMIT)
    assert included_files("editable") == {}
    archive_path = str(client_files._WHEEL.relative_to(ROOT))
    assert included_files("standard") == {"service/commit.txt": COMMIT.encode(), archive_path: pyz.read_bytes()}


def included_files(kind: str) -> dict[str, bytes]:
    """Return the files that the build hook includes in a wheel, with their contents."""
    hook: Any = WheelHook.__new__(WheelHook)
    hook.__dict__["_BuildHookInterface__root"] = str(ROOT)
    build_data: dict[str, Any] = {"force_include": {}}
    try:
        hook.initialize(kind, build_data)
        return {path: Path(source).read_bytes() for source, path in build_data["force_include"].items()}
    finally:
        hook.finalize(kind, build_data, "")


async def test_archive_splits_items(python: str, pyz: Path, exports: Exports, tmp_path: Path) -> None:
    options = ("split", "--project", "shop", "--run-id", "r", "--total", "1", "--index", "1")
    command = (python, "-I", "-S", str(pyz), *options)
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env={}, stdin=PIPE, stdout=PIPE)
    out, _ = await asyncio.wait_for(process.communicate(b"a.py\n"), TIMEOUT_S)
    assert (process.returncode, out) == (0, b"a.py\n")
