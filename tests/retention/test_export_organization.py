"""Export of an organization: all rows of all tables and all files, without secrets, and only complete folders."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from service.database import database
from service.domain.errors import Conflict, NotFound
from service.retention import organization_store
from service.retention.export_organization import OrganizationExport
from service.retention.organization_store import SECRET_COLUMNS
from tests.administration.test_command_line import command
from tests.database.test_isolation import TENANT_TABLES
from tests.retention.filled_organizations import files, row_counts, serving_organizations
from tests.run_events import result, run_event
from tests.served import Api

# Parts of the names of columns with secrets. A new column that matches is either excluded or listed here as harmless.
SUSPICIOUS = ("secret", "sha256", "password", "token", "private", "body")
HARMLESS = {
    "artifacts.sha256", "exports.sha256", "receipts.body_sha256", "idempotency_keys.path_sha256",
    "idempotency_keys.request_sha256",
}  # fmt: skip
SECRET = "whsec_of-a-webhook"


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving_organizations(database_url, tmp_path / "storage") as api:
        yield api


async def export(database_url: str, api: Api, folder: Path, slug: str = "acme") -> Any:
    """Export an organization and return the manifest."""
    pool = await database.open_pool(database_url, "results_worker", 1)
    try:
        async with pool.acquire() as worker:
            await OrganizationExport(worker, api.resources.storage, lambda _: None).run(slug, folder)
    finally:
        await database.close_pool(pool)
    return orjson.loads((folder / "manifest.json").read_bytes())


def rows(folder: Path, table: str) -> list[Any]:
    return [orjson.loads(line) for line in (folder / f"{table}.ndjson").read_bytes().splitlines()]


def entries(folder: Path) -> set[Path]:
    return set(folder.iterdir())


async def test_every_row_of_every_table_is_included(api: Api, database_url: str, tmp_path: Path) -> None:
    expected = await row_counts(api, api.org_id)
    manifest = await export(database_url, api, folder := tmp_path / "export")
    tables = {row["relname"] for row in await api.store.pool.fetch(TENANT_TABLES)}
    assert {table: len(rows(folder, table)) for table in tables} == expected
    assert all(expected.values())
    assert all(row["org_id"] == api.org_id for table in tables for row in rows(folder, table))
    counts = {entry["name"]: entry["rows"] for entry in manifest["files"]}
    assert {table: counts[f"{table}.ndjson"] for table in tables} == expected


async def test_table_that_is_added_later_is_included(api: Api, database_url: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("CREATE TABLE added (org_id int, data json); GRANT SELECT ON added TO results_worker")
    await owner.execute("""INSERT INTO added VALUES (1, '{"a":\n "b\\n"}'), (2, '{}')""")
    await owner.close()
    await export(database_url, api, folder := tmp_path / "export")
    assert rows(folder, "added") == [{"org_id": 1, "data": {"a": "b\n"}}]


async def test_manifest_has_the_size_and_hash_of_each_file(api: Api, database_url: str, tmp_path: Path) -> None:
    manifest = await export(database_url, api, folder := tmp_path / "export")
    listed = {entry["name"]: entry for entry in manifest["files"]}
    stored = {f"files/{entry['name']}": entry for entry in rows(folder, "files")}
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found["manifest.json"]
    assert {name: (len(data), sha256(data).hexdigest()) for name, data in found.items()} == {
        name: (entry["size"], entry["sha256"]) for name, entry in (listed | stored).items()
    }
    assert manifest["organization"] == "acme"


async def test_all_stored_files_are_included(api: Api, database_url: str, tmp_path: Path) -> None:
    await export(database_url, api, folder := tmp_path / "export")
    storage = tmp_path / "storage"
    expected = {path.relative_to(storage).as_posix(): path.read_bytes() for path in files(storage, api.org_id)}
    assert len(expected) == 4
    copied = folder / "files"
    assert {
        path.relative_to(copied).as_posix(): path.read_bytes() for path in copied.rglob("*") if path.is_file()
    } == expected
    assert rows(folder, "missing_files") == []


async def test_missing_file_is_listed(api: Api, database_url: str, tmp_path: Path) -> None:
    path = await api.store.pool.fetchval("SELECT path FROM artifacts WHERE org_id = 1")
    await api.resources.storage.delete(path)
    await export(database_url, api, folder := tmp_path / "export")
    assert rows(folder, "missing_files") == [{"table": "artifacts", "path": path}]


async def test_no_secret_column_is_in_any_file(api: Api, database_url: str, tmp_path: Path) -> None:
    await api.store.pool.execute("UPDATE webhooks SET secret = $1, previous_secret = $1", SECRET)
    await api.store.pool.execute("UPDATE api_keys SET previous_sha256 = secret_sha256")
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE idempotency_keys SET body = $1", SECRET.encode())
    await owner.close()
    hashes = [row[0].hex() for row in await api.store.pool.fetch("SELECT secret_sha256 FROM api_keys")]
    manifest = await export(database_url, api, folder := tmp_path / "export")
    assert manifest["excluded_columns"] == list(SECRET_COLUMNS)
    texts = [path.read_text() for path in folder.glob("*.ndjson")]
    assert not [secret for secret in (SECRET, SECRET.encode().hex(), *hashes) for text in texts if secret in text]
    names = [path.stem for path in folder.glob("*.ndjson")]
    columns = {f"{name}.{column}" for name in names for row in rows(folder, name) for column in row}
    assert columns.isdisjoint(SECRET_COLUMNS)
    suspicious = {column for column in columns if any(part in column.split(".")[1] for part in SUSPICIOUS)}
    assert suspicious - {"files.sha256"} == HARMLESS


async def test_excluded_columns_exist(api: Api) -> None:
    found = await api.store.pool.fetch(
        "SELECT table_name || '.' || column_name AS name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    assert set(SECRET_COLUMNS) <= {row["name"] for row in found}


async def test_all_tables_are_of_one_snapshot(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_rows = organization_store.copy_rows

    async def ingest_and_copy(*arguments: Any) -> int:
        await api.store.ingest(run_event("later", [result("new")], id="later"))
        return await copy_rows(*arguments)

    monkeypatch.setattr(organization_store, "copy_rows", ingest_and_copy)
    await export(database_url, api, folder := tmp_path / "export")
    assert "later" not in {row["run_id"] for row in rows(folder, "runs")}
    assert "later" not in {row["event_id"] for row in rows(folder, "receipts")}


async def test_failed_export_leaves_no_folder(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = entries(tmp_path)
    seen: set[Path] = set()

    async def fail(*_: Any) -> None:
        seen.update(entries(tmp_path))
        raise ConnectionResetError

    monkeypatch.setattr(OrganizationExport, "_list_missing", fail)
    with pytest.raises(ConnectionResetError):
        await export(database_url, api, tmp_path / "export")
    assert entries(tmp_path) == before
    [incomplete] = seen - before
    assert incomplete.name.startswith("export.incomplete-")


async def test_used_folder_is_rejected(api: Api, database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    await export(database_url, api, folder)
    before = {path: path.stat().st_mtime_ns for path in entries(folder)}
    with pytest.raises(Conflict, match="must be an empty folder"):
        await export(database_url, api, folder)
    assert {path: path.stat().st_mtime_ns for path in entries(folder)} == before


async def test_unknown_organization_is_rejected(api: Api, database_url: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'unknown' not found"):
        await export(database_url, api, tmp_path / "export", "unknown")
    assert not (tmp_path / "export").exists()


@pytest.mark.slow
async def test_command_reports_progress_on_stderr(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESULTS_ARTIFACTS_URL", api.resources.storage.url)
    arguments = ("organizations", "export", "acme", "-o", str(tmp_path / "export"))
    code, out, err = await command(database_url, *arguments)
    assert (code, out) == (0, ""), err
    assert "runs.ndjson: 3 rows" in err
    code, _, err = await command(database_url, *arguments)
    assert code == 1
    assert "must be an empty folder" in err
