"""Tests of the wheel in an empty environment, outside of the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from service.client.built_commit import VARIABLE
from service.dev.ports import choose_port
from service.dev.processes import wait_until
from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
from tests.builds import ROOT, build_wheel
from tests.databases import empty_database

START_TIMEOUT_S = 60
COMMIT = "1f0c9ab2d4e5f60718293a4b5c6d7e8f90123456"


@dataclass(frozen=True)
class Installation:
    """The wheel and its required dependencies, without extras, in a virtual environment."""

    directory: Path

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], cwd=self.directory, env=self.environment(settings),
            capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S,
        )  # fmt: skip

    @contextmanager
    def running(self, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen([self.program, *arguments], cwd=self.directory, env=self.environment(settings))
        try:
            yield process
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_S)

    @property
    def program(self) -> Path:
        return self.directory / "venv" / "bin" / "zof-results"

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RESULTS_", "PYTHON"))}
        return {**inherited, "RESULTS_ARTIFACTS_URL": (self.directory / "artifacts").as_uri(), **settings}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    directory = tmp_path_factory.mktemp("installation")
    wheel = build_wheel(directory, COMMIT)
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, directory / "venv"], check=True)
    install(wheel, directory / "venv" / "bin" / "python")
    return Installation(directory)


def uv() -> str:
    return shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def install(wheel: Path, python: Path) -> None:
    """Install the locked versions of the dependencies, if possible from the cache that `make setup` filled."""
    locked = ("--constraint", ROOT / "requirements-dev.lock")
    command: list[str | Path] = [uv(), "pip", "install", "--quiet", "--python", python, *locked, wheel]
    if subprocess.run([*command, "--offline"], check=False).returncode != 0:
        subprocess.run(command, check=True)


@pytest.fixture
def new_database(postgres_url: str) -> Iterator[str]:
    with empty_database(postgres_url) as url:
        yield url


def ready_components(port: int) -> dict[str, Any]:
    """Return the components in the response of /readyz; empty if the API doesn't respond."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return dict(json.load(connection.getresponse())["parts"])
    except (OSError, HTTPException):
        return {}
    finally:
        connection.close()


def read_page(port: int, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


@pytest.mark.slow
def test_schema_commands_create_the_schema_of_an_empty_database(installation: Installation, new_database: str) -> None:
    settings = {"RESULTS_DATABASE_URL": new_database}
    before = installation.run("schema", "status", **settings)
    assert before.returncode == 1, before.stderr
    assert "0001" in before.stdout + before.stderr
    applied = installation.run("schema", "apply", **settings)
    assert applied.returncode == 0, applied.stderr
    after = installation.run("schema", "status", **settings)
    assert after.returncode == 0, after.stderr


@pytest.mark.slow
def test_api_and_consumers_run_from_the_wheel(installation: Installation, new_database: str) -> None:
    port = choose_port()
    settings = {"RESULTS_DATABASE_URL": new_database, "RESULTS_HTTP_PORT": str(port)}
    assert installation.run("schema", "apply", **settings).returncode == 0
    with installation.running("api", **settings), installation.running("consume", **settings):
        started = wait_until(lambda: ready_components(port).get("consumers", {}).get("status") == "up", START_TIMEOUT_S)
        assert started, ready_components(port)
        style_sheet = re.search(r'href="(/console/static/[^"]+\.css)"', read_page(port, "/console/sign-in"))
        assert style_sheet is not None
        assert read_page(port, style_sheet[1])


def test_wheel_contains_the_alert_rules_and_the_dashboard(installation: Installation) -> None:
    shared = installation.directory / "venv" / "share" / "zof-results"
    for name in ("prometheus/zof-results.rules.yml", "grafana/zof-results.json"):
        assert (shared / name).read_bytes() == (ROOT / "deploy" / name).read_bytes()


@pytest.mark.nightly
def test_wheel_names_its_version_and_commit(installation: Installation) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installation.run("--version").stdout == f"zof-results {version} (commit {COMMIT[:10]})\n"


def test_versions_of_beta_packages_are_exact() -> None:
    """Older versions of pip exclude each other's newest betas and then find no solution."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    betas = [package for packages in extras.values() for package in packages if re.search(r"\db\d", package)]
    assert betas
    assert [package for package in betas if not re.search(r"==[\w.]+$", package)] == []


def test_dev_command_without_its_extra_names_the_extra(installation: Installation) -> None:
    folder = installation.directory / "dev"
    result = installation.run("dev", "--without-rabbitmq", RESULTS_DEV_DIR=str(folder))
    assert result.returncode == 1
    for command in ("pip install 'zof-results[stack]'", "uvx --from 'zof-results[stack]' zof-results dev"):
        assert command in result.stderr
    assert not folder.exists()


def test_page_of_the_package_has_no_relative_links_and_lists_its_extras(installation: Installation) -> None:
    """An index such as PyPI shows this page, without the other files of the repository."""
    [package] = distributions(name="zof-results", path=list(map(str, installation.directory.glob("venv/lib/*/*"))))
    page = str(package.metadata.json["description"])
    assert re.findall(r"\]\((?!https://)", page) == []
    assert {*re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE), "checkout"} == {
        *package.metadata.get_all("Provides-Extra", [])
    }


@pytest.mark.slow
def test_isolated_builds_contain_what_the_build_of_the_checkout_contains(tmp_path: Path) -> None:
    """`uv build` builds the wheel from the source distribution, in an environment with only the requirements."""
    variables = {**os.environ, VARIABLE: COMMIT}
    command: list[str | Path] = [uv(), "build", "--quiet", "--python", sys.executable, "--out-dir", tmp_path]
    if subprocess.run([*command, "--offline"], cwd=ROOT, env=variables, check=False).returncode != 0:
        subprocess.run(command, cwd=ROOT, env=variables, check=True)
    [source], [wheel] = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    with tarfile.open(source) as archive:
        assert {name.split("/")[1] for name in archive.getnames()}.isdisjoint({"tests", "benchmarks", "docs", "dist"})
    assert contents(wheel) == contents(build_wheel(tmp_path / "checkout", COMMIT))
    assert f"service/client/{ARCHIVE_FOLDER}/{ARCHIVE_NAME}" in contents(wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}
