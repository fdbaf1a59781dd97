"""The client archive over HTTP."""

from hashlib import sha256
from pathlib import Path

import pytest

from service.api.handlers import client_files
from service.domain.client_archive import ARCHIVE_NAME
from tests.api.served import Api


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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArchiveFolder:
    monkeypatch.setattr(client_files, "_FOLDERS", (tmp_path / "missing", tmp_path))
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
