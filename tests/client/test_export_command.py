"""The filter options of the export command become the filters of the request."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import cli
from service.client import export as exports
from service.client.export_command import file_options

SERVER = ["--url", "http://h", "--key", "zof_1"]


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        (["--flaky"], {"flaky": True}),
        (["--no-flaky", "--status", "passed"], {"flaky": False, "status": ("passed",)}),
        (
            ["--commit", "C0FFEE1", "--label", "a:b", "--label", "c:d", "--min-duration-ms", "5"],
            {"commit_sha": "c0ffee1", "label": ("a:b", "c:d"), "min_duration_ms": 5},
        ),
        ([], {}),
    ],
)
def test_options_are_the_filters_of_the_request(
    options: list[str], filters: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requests: list[Any] = []
    monkeypatch.setattr(exports, "export", lambda _, __, request, *___: requests.append(request))
    result = CliRunner().invoke(cli, ["export", *SERVER, "-o", str(tmp_path / "a.csv"), *options])
    assert result.exit_code == 0, result.output
    assert [request["filter"] for request in requests] == [filters]


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
def test_file_name_sets_the_format_and_compression(name: str, expected: tuple[str, str | None]) -> None:
    assert file_options(None, None, Path(name)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ("json", "none")),
        ("results-2026.11.25", ("json", "none")),
        ("a.JSON", ("json", "none")),
        ("a.json", ("json", "none")),
    ],
)
def test_options_set_the_format_of_a_name_that_states_none(name: str, expected: tuple[str, str | None]) -> None:
    assert file_options("json", "none", Path(name)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "a.xlsx"], "a.xlsx can't be written. Spreadsheets open CSV files: use the suffix .csv."),
        (["-o", "a.XLSX", "--format", "csv"], "a.XLSX can't be written."),
        (["-o", "a.jsonl.gz"], "a.jsonl.gz can't be written. Use the suffix .ndjson."),
        (["-o", "a.csv.zip"], "a.csv.zip can't be written. Use the suffix .gz or .zst to compress the file."),
        (["-o", "a.json", "--format", "csv"], "--format: csv contradicts the file name a.json."),
        (["-o", "a.csv.gz", "--compression", "zstd"], "--compression: zstd contradicts the file name a.csv.gz."),
        (["-o", "a.parquet.zst"], "Omit the suffix .zst, and use --compression."),
    ],
)
def test_format_that_contradicts_the_file_name_is_a_usage_error(options: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["export", "--url", "http://127.0.0.1:9", "--key", "zof_1", *options])
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_position_is_printed_and_never_mixed_with_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exports, "export", lambda *_: {"id": "exp_1", "position": "evt_7"})
    arguments = ["export", *SERVER, "--print-position", "--content", "runs", "--updated-since", "evt_5"]
    result = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "a.csv")])
    assert (result.exit_code, result.stdout) == (0, "evt_7\n")
    assert CliRunner().invoke(cli, [*arguments, "-o", "-"]).exit_code == 2
    monkeypatch.setattr(exports, "export", lambda *_: {"id": "exp_1"})
    assert "older version" in str(CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "a.csv")]).exception)


def test_help_names_options_instead_of_parameters() -> None:
    lines = CliRunner().invoke(cli, ["export", "--help"], terminal_width=200).output
    assert "(requires --run-id)" in lines
    assert "run_id)" not in lines
