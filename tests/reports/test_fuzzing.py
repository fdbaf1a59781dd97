"""Thousands of damaged reports of each format are parsed or rejected, in bounded time and memory."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import pytest
from pydantic import ValidationError

from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.format_table import REPORT_FORMATS
from tests.reports.conversions import convert_all
from tests.reports.manifests import CORPUS, OWN, all_listed
from tests.reports.mutants import mutant

SEED: Final = int(os.environ.get("RESULTS_TEST_SEED", "1"))
MUTANTS: Final = 25_000  # per format
MAX_FILE_BYTES: Final = 30_000
MAX_FILES: Final = 40
MAX_ROWS: Final = 20_000
MAX_S: Final = 5  # CPU time of one mutant
MAX_GROWTH_MIB: Final = 150


class Slowest(NamedTuple):
    """The CPU time and the number of the slowest mutant."""

    seconds: float = 0
    number: int = -1


@pytest.mark.nightly
@pytest.mark.parametrize("name", [known.name for known in REPORT_FORMATS])
def test_mutants_are_parsed_or_rejected(name: str) -> None:
    reports = reports_of(name)
    assert reports

    print(f"{name}: {MUTANTS} mutants of {len(reports)} reports, RESULTS_TEST_SEED={SEED}")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        slowest = child.submit(convert_mutants, reports, SEED, MUTANTS).result()
    print(f"{name}: the slowest mutant is {slowest.number} with {slowest.seconds:.2f} s")


def test_mutants_of_a_seed_are_repeatable() -> None:
    reports = [b'<testsuite><testcase name="a"/></testsuite>', b'{"results": [1, "a"]}']

    mutants = [mutant(reports, 1, number) for number in range(300)]
    assert mutants == [mutant(reports, 1, number) for number in range(300)]
    assert mutants != [mutant(reports, 2, number) for number in range(300)]
    assert len(set(mutants)) > 100


def reports_of(name: str) -> list[bytes]:
    """Return small reports of a format, at most `MAX_FILES`. A report has the format in which the service reads it."""
    listed = [report.path for folder in (OWN, CORPUS) for report in all_listed(folder) if report.is_readable]
    small = sorted({path for path in listed if path.stat().st_size <= MAX_FILE_BYTES})
    found = [path.read_bytes() for path in small if _format_of(path) == name]
    return found[:: len(found) // MAX_FILES + 1]


def convert_mutants(reports: list[bytes], seed: int, count: int) -> Slowest:
    """Convert mutants in this process, which is only for them. Raises AssertionError with the number of the first one
    that isn't parsed or rejected.
    """
    slowest = Slowest()
    with TemporaryDirectory() as folder:
        for report in reports:
            _parse_or_reject(report, Path(folder))
        start_mib = _peak_mib()
        for number in range(count):
            report = mutant(reports, seed, number)
            with _named(f"mutant {number} of seed {seed}"):
                seconds = _parse_or_reject(report, Path(folder))
                growth_mib = _peak_mib() - start_mib
                assert seconds < MAX_S, f"{seconds:.1f} s"
                assert growth_mib < MAX_GROWTH_MIB, f"the memory grew by {growth_mib:.0f} MiB"
            slowest = max(slowest, Slowest(seconds, number))
    return slowest


@contextmanager
def _named(mutant_name: str) -> Iterator[None]:
    """Name the mutant in the error of a conversion, also of one that doesn't end."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(20 * MAX_S)
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{mutant_name}: {type(error).__name__}: {error}") from error
    finally:
        signal.alarm(0)


def _stop(*_signal: object) -> None:
    raise TimeoutError("the conversion doesn't end")


def _parse_or_reject(report: bytes, folder: Path) -> float:
    """Return the CPU seconds of the conversion and the validation of a report."""
    source = folder / "report"
    source.write_bytes(report)
    started = time.process_time()
    with suppress(ReportError, ValidationError):  # ValidationError: native results that ingest rejects
        convert_all(source, folder, max_rows=MAX_ROWS)
    return time.process_time() - started


def _peak_mib() -> float:
    """Return the peak memory of this process. `ru_maxrss` contains that of the process that started it."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _format_of(path: Path) -> str:
    with TemporaryDirectory() as folder:
        return convert(path, Path(folder, "results")).format
