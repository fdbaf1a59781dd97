"""Tests of the limit of growth, of its tables and charts, and of a small run of the benchmark."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.growth.limits import Growth, GrowthTable
from benchmarks.growth.plots import draw_chart
from benchmarks.growth.tables import format_table


@pytest.mark.parametrize(
    ("values", "is_limited"),
    [
        ({1: 2.0, 10: 2.7, 1_000: 3.7}, True),  # the limits are 2.8 and 3.8
        ({1: 2.0, 10: 2.9, 1_000: 3.7}, False),
        ({1: 2.0, 10: 2.7, 1_000: 3.9}, False),
        ({1: 2.0, 1_000: 0.1}, True),
    ],
)
def test_a_value_can_grow_by_a_quarter_per_tenfold_size_and_by_noise(
    values: dict[int, float], is_limited: bool
) -> None:
    assert Growth("page", values).is_limited is is_limited


def test_table_names_the_rows_above_the_limit() -> None:
    table = GrowthTable(
        "Pages", [Growth("page", {1_000_000: 1.0, 10_000_000: 1.25}), Growth("run", {1_000_000: 2.0, 10_000_000: 3.0})]
    )
    assert format_table(table).splitlines()[2:] == [
        "|  | 1 M | 10 M | factor | limit |",
        "| --- | --- | --- | --- | --- |",
        "| page | 1 | 1.25 | 1.25 | 1.40 |",
        "| run | 2 | 3 | 1.50 | 1.40 exceeded |",
    ]


def test_chart_is_well_formed_and_has_a_line_for_each_row_and_the_limit() -> None:
    growth = [Growth("page <1>", {1: 1.0, 10: 1.2}), Growth("run", {1: 2.0, 10: 0.5})]
    chart = ElementTree.fromstring(draw_chart(GrowthTable("Pages & runs", growth)))
    lines = [path for path in chart.iter("{http://www.w3.org/2000/svg}path") if path.get("fill") == "none"]
    texts = {text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")}
    assert len(lines) == 3
    assert {"Pages & runs", "page <1>", "run", "limit", "1", "10", "1 ×"} <= texts


@pytest.mark.nightly
def test_small_run_fills_a_database_once_and_measures_it(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.growth",
        "--steps",
        "0.04",
        "--rounds",
        "1",
        "--only",
        "results",
        "cases",
    ]
    options = ["--folder", str(tmp_path / "databases"), "--plots", str(tmp_path / "plots")]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("filled growth_40000_20_24") == 1
    assert "| results, first page |" in run.stdout
    assert "| primary key of results, bytes per result |" in run.stdout
    assert [file.name for file in (tmp_path / "plots").iterdir()] == ["cases.svg"]  # the only one with several sizes
