"""Content of export files: equal to the list, field by field, in every format, from a folder and from S3."""

import csv
import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import duckdb
import orjson
import pyarrow.parquet
import pytest
import pytest_asyncio

from service.exports.columns import columns_of
from tests.buckets import new_bucket
from tests.databases import DatabaseServer
from tests.exporting import Exports, exporting
from tests.owners import set_owners
from tests.run_events import result, run_event

COLUMNS = columns_of("results")

SPECIAL_TEXTS = [
    "plain",
    'quo"ted',
    "comma, semi;colon",
    "two\nlines\r\nand more",
    "ünïcödé 🎉 中文",
    "back\\slash \\.",
    "\\.",
    "'",
    "",
]
FORMULAS = ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "＝1", "＋1", "－1", "＠sum"]
# Programs that separate cells by semicolons or tabs don't treat the quotes of CSV as such.
INNER_FORMULAS = {
    "a;=1": "a;'=1", ";=1;;+2": ";'=1;;'+2", "a\t@sum": "a\t'@sum", "a\n=1": "a\n'=1", "a\r\n-1": "a\r\n'-1",
    "a;＝1": "a;'＝1", "=1;=2": "'=1;'=2", "\n=1": "'\n'=1", "a; b=1;c": "a; b=1;c", "a-b": "a-b", "a;": "a;",
}  # fmt: skip
OBJECTS = ("labels", "variant", "owners")
OF_RUN: dict[str, Any] = {"commit_sha": "c0ffee", "ci_url": "https://ci/1", "labels": {"team": 'q"a', "zone": "ö"}}


@pytest.fixture(scope="module", params=["file", "s3"])
def storage_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a folder or a bucket that the tests of this module share."""
    if request.param == "file":
        return (tmp_path_factory.mktemp("exports") / "files").as_uri()
    return new_bucket(request.getfixturevalue("s3_url"))


@pytest.fixture(scope="module")
def shared_database_url(storage_url: str, database_server: DatabaseServer, template: str) -> Iterator[str]:
    """The URL of the database for a storage."""
    with database_server.cloned_database(template) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exports(shared_database_url: str, storage_url: str) -> AsyncIterator[Exports]:
    """Two runs, and a worker for exports. Tests only read the runs."""
    async with exporting(shared_database_url, storage_url) as opened:
        await fill(opened)
        yield opened


async def fill(exports: Exports) -> None:
    names = [*SPECIAL_TEXTS, *FORMULAS, *INNER_FORMULAS]
    failing = [
        result(
            f"fails {text}",
            "failed",
            case_id=f"tc_{number}",
            file=f"{text}.py",
            failure={"message": text or "message", "type": text},
        )
        for number, text in enumerate(names)
    ]
    passing = [result(text, suite=text, file="tests/a.py", started_at="2026-05-20T11:59:00.123Z") for text in names]
    attempts = [{"status": "failed", "failure": {"message": "=1 is\ntoo many"}}, {"status": "passed"}]
    flaky = result("flaky", variant={"os": 'q"ö', "b": "=1"}, attempts=attempts)
    moved = result("fails plain", case_id="tc_0", file="moved.py")
    later = run_event("run_2", [result(status="skipped"), flaky, moved], time="2026-06-01T00:00:00Z", branch="main")
    first = run_event("run_1", [*passing, *failing], started_at="2026-05-20T11:50:00Z", environment="staging", **OF_RUN)
    await exports.api.store.ingest(first, later)
    await set_owners(exports.api.store.pool, {"c.case_id IS NOT NULL": ["=1+1", 'q"ö, x'], "c.name = 'flaky'": ["web"]})


async def listed(exports: Exports, **params: str) -> list[dict[str, Any]]:
    """Return the list of the API with the additional columns of an export."""
    runs = {run["run_id"]: run for run in await exports.api.list_all("/v1/runs")}
    items = await exports.api.list_all("/v1/results", params)
    cases = {case["id"]: case for case in await exports.api.list_all("/v1/cases", {"project_id": "shop"})}
    others = [{"owners": cases[item["case"]]["owners"], **runs[item["run_id"]], **item} for item in items]
    return [{name: item[name] for name in COLUMNS} for item in others]


def as_cells(items: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{name: as_cell(value) for name, value in item.items()} for item in items]


def as_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return object_as_cell(value) if isinstance(value, dict) else str(value)


def object_as_cell(value: dict[str, str] | list[str]) -> str:
    """Return labels sorted, because their order is undefined."""
    return str(sorted(value.items()) if isinstance(value, dict) else value)


def cells(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, **{name: object_as_cell(orjson.loads(row[name])) for name in OBJECTS}} for row in rows]


def read_by_duckdb(source: str, data: bytes, suffix: str) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        found = duckdb.sql(source.format(file.name))
        assert found is not None
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_csv_read_by_python_equals_the_list(exports: Exports, compression: str) -> None:
    job = await exports.run("csv", compression=compression, raw=True)
    rows = list(csv.DictReader(io.StringIO((await exports.content(job)).decode(), newline="")))
    assert list(rows[0]) == list(COLUMNS)
    assert cells(rows) == as_cells(await listed(exports))
    assert job["rows"] == len(rows)


@pytest.mark.slow
async def test_csv_read_by_duckdb_and_pandas_equals_the_list(exports: Exports) -> None:
    import pandas

    text = await exports.content(await exports.run("csv", raw=True))
    expected = as_cells(await listed(exports))
    frame = pandas.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    assert cells([{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")]) == expected
    source = "SELECT * FROM read_csv('{}', all_varchar=true, header=true, delim=',', quote='\"')"
    rows = read_by_duckdb(source, text, ".csv")
    assert cells([{name: value or "" for name, value in row.items()} for row in rows]) == expected


async def test_formulas_are_neutralized_unless_raw_is_set(exports: Exports) -> None:
    columns = ["name", "failure_summary", "duration_ms"]
    neutralized = list(
        csv.reader(io.StringIO((await exports.content(await exports.run(columns=columns))).decode(), newline=""))
    )
    raw = list(
        csv.reader(
            io.StringIO((await exports.content(await exports.run(columns=columns, raw=True))).decode(), newline="")
        )
    )
    expected = {text: text for text in SPECIAL_TEXTS} | {text: f"'{text}" for text in FORMULAS} | INNER_FORMULAS
    pairs = [(cell, shown) for rows in zip(raw, neutralized, strict=True) for cell, shown in zip(*rows, strict=True)]
    assert {cell: shown for cell, shown in pairs if cell in expected} == expected


@pytest.mark.parametrize(
    ("file_format", "compression"), [("json", "none"), ("json", "zstd"), ("ndjson", "none"), ("ndjson", "gzip")]
)
async def test_json_equals_the_list(exports: Exports, file_format: str, compression: str) -> None:
    text = await exports.content(await exports.run(file_format, compression=compression))
    rows = orjson.loads(text) if file_format == "json" else [orjson.loads(line) for line in text.splitlines()]
    assert rows == await listed(exports)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_parquet_read_by_pyarrow_and_duckdb_equals_the_list(exports: Exports, compression: str) -> None:
    job = await exports.run("parquet", compression=compression)
    data = await exports.file(job)
    expected = await listed(exports)
    rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    assert [as_json(row) for row in rows] == expected
    assert [as_json(row) for row in read_by_duckdb("SELECT * FROM '{}'", data, ".parquet")] == expected
    assert job["rows"] == len(rows)


@pytest.mark.parametrize("column", ["environment", "file", "suite", "duration_ms", "flaky", "started_at"])
async def test_parquet_of_one_column_equals_the_list(exports: Exports, column: str) -> None:
    """In a CSV of one column, a null is an empty line."""
    data = await exports.file(await exports.run("parquet", columns=[column]))
    values = pyarrow.parquet.read_table(io.BytesIO(data))[column].to_pylist()
    assert [as_text(value) for value in values] == [item[column] for item in await listed(exports)]


async def test_parquet_keeps_byte_order_marks(exports: Exports) -> None:
    names = {"\ufefflogs in", "\ufeff"}
    await exports.api.store.ingest(run_event("marks", [result(name) for name in names]))
    data = await exports.file(await exports.run("parquet", columns=["name"], filter={"run_id": "marks"}))
    assert set(pyarrow.parquet.read_table(io.BytesIO(data))["name"].to_pylist()) == names


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: as_text(value) for name, value in {**row, **{name: orjson.loads(row[name]) for name in OBJECTS}}.items()
    }


def as_text(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("file_format", ["csv", "json", "ndjson", "parquet"])
async def test_export_without_results_is_a_readable_file(exports: Exports, file_format: str) -> None:
    job = await exports.run(file_format, filter={"from": "2020-01-01", "to": "2020-01-02"})
    assert (job["rows"], job["progress"]) == (0, 1)
    data = await exports.file(job)
    if file_format == "csv":
        assert data.decode() == ",".join(COLUMNS) + "\n"
    elif file_format == "parquet":
        assert pyarrow.parquet.read_table(io.BytesIO(data)).column_names == list(COLUMNS)
    else:
        assert data.strip() == (b"[]" if file_format == "json" else b"")


@pytest.mark.parametrize(
    "requested",
    [
        {"run_id": "run_1"},
        {"run_id": "run_1", "suite": "quo\"ted"},
        {"status": "failed"},
        {"status": ["failed", "skipped"], "project_id": "shop"},
        {"from": "2026-05-21"},
        {"to": "2026-06-01"},
        {"environment": "staging"},
        {"branch": "main"},
        {"case_id": "tc_3"},
        {"owner": 'q"ö, x', "project_id": "shop", "from": "2026-05-01", "to": "2026-06-01"},
        {"owner": "web"},
        {"owner": "q"},
        {"case_id": "tc_none"},
        {"run_id": "'; DROP TABLE results; --"},
        {"branch": "$1 :org_id {hit} \\"},
    ],
    ids=str,
)  # fmt: skip
async def test_filter_selects_the_same_results_as_in_the_list(exports: Exports, requested: dict[str, Any]) -> None:
    text = await exports.content(await exports.run("ndjson", filter=requested))
    params = [(name, value) for name, values in requested.items() for value in as_list(values)]
    items = await exports.api.list_all("/v1/results", params)
    assert [orjson.loads(line)["id"] for line in text.splitlines()] == [item["id"] for item in items]


def as_list(values: str | list[str]) -> list[str]:
    return [values] if isinstance(values, str) else values


async def test_case_filter_accepts_the_public_id(exports: Exports) -> None:
    [case] = {item["case"] for item in await exports.api.list_all("/v1/results", {"case_id": "tc_1"})}
    text = await exports.content(await exports.run("ndjson", filter={"case": case}, columns=["case", "case_id"]))
    assert [orjson.loads(line) for line in text.splitlines()] == [{"case": case, "case_id": "tc_1"}]


async def test_size_and_sha256_match_the_downloaded_bytes(exports: Exports) -> None:
    job = await exports.run("csv", compression="gzip")
    response = await exports.api.send("GET", f"/v1/results/export/{job['id']}/file", Accept_Encoding="gzip")
    data = await response.read()
    assert (len(data), sha256(data).hexdigest()) == (job["size"], job["sha256"])
    assert "Content-Encoding" not in response.headers
    assert response.headers["Content-Type"] == "application/gzip"


async def test_range_and_resumed_download_return_parts_of_the_file(exports: Exports) -> None:
    job = await exports.run("csv")
    complete, path = await exports.file(job), f"/v1/results/export/{job['id']}/file"
    response = await exports.api.send("GET", path, Range="bytes=10-19")
    assert (response.status, await response.read()) == (206, complete[10:20])
    assert response.headers["Content-Range"] == f"bytes 10-19/{len(complete)}"
    resumed = await exports.api.send("GET", path, Range="bytes=100-", If_Range=response.headers["ETag"])
    assert (resumed.status, await resumed.read()) == (206, complete[100:])
    other = await exports.api.send("GET", path, Range="bytes=100-", If_Range='"another"')
    assert (other.status, await other.read()) == (200, complete)
    tail = await exports.api.send("GET", path, Range="bytes=-7")
    assert (tail.status, await tail.read()) == (206, complete[-7:])
    out_of_range = await exports.api.send("GET", path, Range=f"bytes={len(complete)}-")
    assert (out_of_range.status, out_of_range.headers["Content-Range"]) == (416, f"bytes */{len(complete)}")
    assert (await exports.api.send("GET", path, If_None_Match=response.headers["ETag"])).status == 304


@pytest.mark.parametrize("requested", ["0-", "0-99999999999", "-99999999", "00-"])
async def test_range_of_the_complete_file_returns_206(exports: Exports, requested: str) -> None:
    job = await exports.run("csv")
    complete, path = await exports.file(job), f"/v1/results/export/{job['id']}/file"
    response = await exports.api.send("GET", path, Range=f"bytes={requested}")
    assert (response.status, await response.read()) == (206, complete)
    assert response.headers["Content-Range"] == f"bytes 0-{len(complete) - 1}/{len(complete)}"
    assert (await exports.api.send("HEAD", path, Range=f"bytes={requested}")).status == 200


async def test_empty_suffix_range_returns_416_and_malformed_ranges_are_ignored(exports: Exports) -> None:
    job = await exports.run("csv")
    path = f"/v1/results/export/{job['id']}/file"
    assert (await exports.api.send("GET", path, Range="bytes=-0")).status == 416
    for other in ("bytes=-", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=0-" + "9" * 5_000):
        assert (await exports.api.send("GET", path, Range=other)).status == 200


async def test_head_returns_the_headers_of_the_file(exports: Exports) -> None:
    job = await exports.run("csv", filter={"run_id": "run_1"})
    response = await exports.api.send("HEAD", f"/v1/results/export/{job['id']}/file")
    assert (response.status, await response.read()) == (200, b"")
    assert response.headers["Content-Length"] == str(job["size"])
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="results-run_1.csv"')
