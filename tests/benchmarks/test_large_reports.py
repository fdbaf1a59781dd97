"""Reports of 200 MB of each format are converted in memory that doesn't grow with the report."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from benchmarks.reports import MIXED, SHAPES, peak_growth_mib

SIZE: Final = 200e6
SAMPLE_CASES: Final = 2_000
MAX_GROWTH_MIB: Final = 100


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in SHAPES if name == MIXED or not name.startswith("junit")])
def test_200_mb_stay_flat_in_memory(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    report = tmp_path / f"report{shape.suffix}"
    shape.write(report, SAMPLE_CASES)
    shape.write(report, round(SAMPLE_CASES * SIZE / report.stat().st_size))
    with ProcessPoolExecutor(1) as child:
        grown = child.submit(peak_growth_mib, report).result()

    assert report.stat().st_size > 0.8 * SIZE
    assert grown < MAX_GROWTH_MIB
