"""Nightly test of `make release` in copies of the checkout: its files, their checksums, and the upload of the wheel."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from tests.workflows.repositories import ROOT, Repository

pytestmark = pytest.mark.nightly

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PACKAGES = {f"zof-results-{name}-{VERSION}.tgz" for name in ("jest", "playwright", "vitest")}
PYTEST_WHEEL = f"pytest_zof_results-{VERSION}-py3-none-any.whl"
CHANGELOG = f"# Changelog\n\n## {VERSION}, 2026-01-31\n\n- A change.\n"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Repository]:
    """Return two copies of the checkout in different folders, each with its release."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    paths = [path for path in listed if (ROOT / path).is_file()]
    copies = [
        Repository.create(tmp_path_factory.mktemp(name), paths, {"CHANGELOG.md": CHANGELOG})
        for name in ("one", "another")
    ]
    for copy in copies:
        (copy.folder / ".tools").symlink_to(ROOT / ".tools")
        (copy.folder / ".git" / "info").mkdir(exist_ok=True)
        (copy.folder / ".git" / "info" / "exclude").write_text(".tools\n")
        copy.run("make", "check-release", "release", TAG=f"v{VERSION}", PYTHON=sys.executable)
    return copies


@pytest.fixture
def release(copies: list[Repository]) -> Path:
    return copies[0].folder / "dist" / "release"


def test_two_builds_have_the_same_bytes(copies: list[Repository]) -> None:
    one, another = (
        {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (copy.folder / "dist" / "release").iterdir()
        }
        for copy in copies
    )
    assert one == another
    assert PYTEST_WHEEL in one
    assert len(one) == 9 + len(PACKAGES)


def test_checksums_name_every_file(release: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=release, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    checked = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    assert checked == {path.name for path in release.iterdir()} - {"SHA256SUMS"}


def test_wheel_contains_the_client_and_the_client_names_the_commit(release: Path, copies: list[Repository]) -> None:
    client = release / "zof-results-client.pyz"
    with zipfile.ZipFile(release / f"zof_results-{VERSION}-py3-none-any.whl") as wheel:
        assert wheel.read(f"service/client/dist/{client.name}") == client.read_bytes()
    done = subprocess.run([sys.executable, client, "--version"], capture_output=True, text=True, check=True)
    assert f"{VERSION} (commit {copies[0].run('git', 'rev-parse', 'HEAD')[:10]})" in done.stdout


def test_archives_contain_the_files_of_the_commit(release: Path, copies: list[Repository]) -> None:
    for name, expected in (("integrations", "integrations/github/action.yml"), ("deploy", "compose.yaml")):
        with tarfile.open(release / f"zof-results-{name}-{VERSION}.tar.gz") as archive:
            names = archive.getnames()
            file = archive.extractfile(f"zof-results-{name}-{VERSION}/{expected}")
            assert file is not None
            assert file.read() == (copies[0].folder / expected).read_bytes()
        assert f"zof-results-{name}-{VERSION}/LICENSE" in names


def test_npm_packages_contain_their_files(release: Path, copies: list[Repository]) -> None:
    assert {path.name for path in release.glob("*.tgz")} == PACKAGES
    expected = (copies[0].folder / "integrations" / "evidence.cjs").read_bytes()
    for name in PACKAGES:
        with tarfile.open(release / name) as package:
            file = package.extractfile("package/evidence.cjs")
            assert file is not None
            assert file.read() == expected


def test_archive_of_deploy_contains_the_files_that_compose_mounts(release: Path) -> None:
    stack = yaml.safe_load((ROOT / "compose.yaml").read_text())
    volumes = [volume for service in stack["services"].values() for volume in service.get("volumes", [])]
    mounted = {volume.partition(":")[0].removeprefix("./") for volume in volumes if volume.startswith("./")}
    with tarfile.open(release / f"zof-results-deploy-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert mounted == {"deploy/rabbitmq.conf", "deploy/login.sql"}
    assert mounted | {"compose.yaml", "deploy/create-secrets"} <= names


def test_sboms_list_the_packages_with_their_hashes(release: Path) -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^ \\;]+)", (ROOT / "requirements-image.lock").read_text(), re.MULTILINE))
    assert components(release / "zof-results-image.cdx.json") == locked
    names = components(release / "zof-results-client.cdx.json").keys()
    assert names == {"certifi", "click", "h11", "httpcore", "httpx", "idna"}


def components(path: Path) -> dict[str, str]:
    document = json.loads(path.read_text())
    assert document["metadata"]["component"]["version"] == VERSION
    assert all(item["externalReferences"][0]["hashes"] for item in document["components"])
    return {item["name"]: item["version"] for item in document["components"]}


def test_text_of_the_release_is_the_section_of_the_changelog(release: Path) -> None:
    assert release.with_name("release-notes.md").read_text() == "- A change.\n"


def test_nothing_names_a_folder_of_the_build(release: Path, copies: list[Repository]) -> None:
    for path in release.iterdir():
        assert str(copies[0].folder).encode() not in path.read_bytes(), path.name


def test_wheels_are_published(release: Path, copies: list[Repository]) -> None:
    with package_index() as (url, uploads):
        copies[0].run("make", "publish-wheel", UV_PUBLISH_URL=url, UV_PUBLISH_TOKEN="token")
    wheels = sorted(release.glob("*.whl"))
    assert len(uploads) == len(wheels) == 2
    assert all(any(wheel.read_bytes() in upload for upload in uploads) for wheel in wheels)


@contextmanager
def package_index() -> Iterator[tuple[str, list[bytes]]]:
    """Accept uploads as a package index does. Yield its URL and the bodies of the uploads."""
    uploads: list[bytes] = []

    class UploadHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers["Content-Length"]
            uploads.append(self.rfile.read(int(length)) if length else b"".join(self.chunks()))
            self.send_response(200)
            self.end_headers()

        def chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

    server = ThreadingHTTPServer(("127.0.0.1", 0), UploadHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/legacy/", uploads
    finally:
        server.shutdown()
        server.server_close()
