"""The client archive over HTTP."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from service.api import client_files
from service.domain.client_archive import ARCHIVE_NAME
from service.domain.errors import Unavailable
from service.version import find_version
from tests.served import Api, serve


class ArchiveFolder:
    """A folder that contains an archive."""

    def __init__(self, path: Path) -> None:
        self._archive = path / ARCHIVE_NAME
        self.write(b"#!/usr/bin/env python3\nPK")

    def write(self, content: bytes) -> None:
        self.content = content
        self._archive.write_bytes(content)

    def clear(self) -> None:
        self._archive.unlink()


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """An API with a storage of its own, because a stored archive is never replaced."""
    async with serve(database_url, artifacts_url=(tmp_path / "files").as_uri()) as served:
        yield served


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArchiveFolder:
    monkeypatch.setattr(client_files, "_WHEEL", tmp_path / ARCHIVE_NAME)
    monkeypatch.setattr(client_files, "_CHECKOUT", tmp_path / "missing")
    return ArchiveFolder(tmp_path)


async def test_archive_and_its_sha256_need_no_key(api: Api, folder: ArchiveFolder) -> None:
    response = await api.send("GET", "/client.pyz", key="")
    body = await response.read()
    assert (response.status, body) == (200, folder.content)
    digest = await (await api.send("GET", "/client.pyz.sha256", key="")).text()
    assert digest == f"{sha256(body).hexdigest()}  client.pyz\n"


@pytest.mark.parametrize("path", ["/client.pyz", "/client.pyz.sha256"])
async def test_unchanged_archive_is_not_sent_again(api: Api, folder: ArchiveFolder, path: str) -> None:
    etag = (await api.send("GET", path)).headers["ETag"]
    assert (await api.send("GET", path, If_None_Match=etag)).status == 304
    folder.write(b"a newer version")
    response = await api.send("GET", path, If_None_Match=etag)
    assert response.status == 200
    assert response.headers["ETag"] != etag


@pytest.mark.parametrize("path", ["/client.pyz", "/client.pyz.sha256"])
async def test_missing_archive_is_a_404_with_the_fix(api: Api, folder: ArchiveFolder, path: str) -> None:
    folder.clear()
    assert "run `make client`" in (await api.error(path, 404))["message"]


OWN: str = f"/client/{find_version()}.pyz"


async def test_version_stays_the_same_after_an_upgrade(
    api: Api, folder: ArchiveFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, body = await _download(api, OWN), folder.content
    monkeypatch.setattr(client_files, "find_version", lambda: "99.1.0")
    folder.write(b"a newer version")
    assert await _download(api, OWN) == first == body
    assert await _download(api, "/client/99.1.0.pyz") == await _download(api, "/client.pyz") == b"a newer version"
    digest = await (await api.send("GET", f"{OWN}.sha256", key="")).text()
    assert digest == f"{sha256(body).hexdigest()}  client.pyz\n"


async def test_second_build_of_a_version_does_not_replace_the_first(api: Api, folder: ArchiveFolder) -> None:
    await client_files.store_at_start(api.resources.storage)
    first = folder.content
    folder.write(b"another build")
    await client_files.store_at_start(api.resources.storage)
    assert await _download(api, OWN) == first


async def test_checkout_serves_its_archive_and_stores_none(
    api: Api, folder: ArchiveFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later commit of a checkout can have the same version."""
    await client_files.store_at_start(api.resources.storage)  # of a wheel with this version
    monkeypatch.setattr(client_files, "_WHEEL", tmp_path / "missing")
    monkeypatch.setattr(client_files, "_CHECKOUT", tmp_path / ARCHIVE_NAME)
    folder.write(b"a later commit")
    assert await _download(api, OWN) == b"a later commit"
    monkeypatch.setattr(client_files, "find_version", lambda: "99.1.0")
    await client_files.store_at_start(api.resources.storage)
    assert await _download(api, "/client/99.1.0.pyz") == b"a later commit"
    assert OWN.removeprefix("/client/") in _stored(tmp_path)
    assert "99.1.0.pyz" not in _stored(tmp_path)


def _stored(folder: Path) -> list[str]:
    return [path.name for path in (folder / "files" / "client").iterdir()]


@pytest.mark.parametrize("number", ["0.0.1", "..", "%2e%2e%2finbox", "a" * 100])
async def test_unknown_version_is_a_404(shared_api: Api, folder: ArchiveFolder, number: str) -> None:
    for suffix in ("pyz", "pyz.sha256"):
        assert "not found" in (await shared_api.error(f"/client/{number}.{suffix}", 404))["message"]


async def test_version_of_the_installation_is_available_without_storage(
    api: Api, folder: ArchiveFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable("the file storage does not respond")

    for operation in ("size", "read"):
        monkeypatch.setattr(type(api.resources.storage), operation, fail)
    assert await _download(api, OWN) == folder.content
    assert (await api.error("/client/0.0.1.pyz", 503))["code"] == "unavailable"
    await client_files.store_at_start(api.resources.storage)  # logs the failure only


async def _download(api: Api, path: str) -> bytes:
    response = await api.send("GET", path, key="")
    assert response.status == 200
    return await response.read()
