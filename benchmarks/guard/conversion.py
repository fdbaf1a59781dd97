"""The short form of the report benchmark: the CPU time of a bare XML loop relative to the conversion."""

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.report_shapes import junit
from benchmarks.reports import fastest_s, run_conversion

_CASES: Final = 30_000


def measure() -> dict[str, float]:
    """Return the ratio of the CPU times: `iterparse` loop / conversion of a report with mixed dialects."""
    with tempfile.TemporaryDirectory(prefix="zof-results-benchmark-") as folder:
        path = Path(folder) / "mixed.xml"
        junit.write_report(path, _CASES)
        bare_s, conversion_s = fastest_s(path, junit.bare_loop, run_conversion)
    return {"iterparse": bare_s / conversion_s}
