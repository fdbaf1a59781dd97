"""The comparison of new measurements with the committed ratios in `benchmarks/ratios.toml`.

Each ratio is the CPU time of a reference divided by that of the service, so a lower ratio means a slower service. Other
programs increase CPU times through the caches of the processor, so each benchmark compares the least of several times.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.guard import conversion, deliveries, exports, ingest, requests

RATIOS_FILE: Final = Path(__file__).parent.with_name("ratios.toml")
TOLERANCE: Final = 0.65  # the least accepted share of a committed ratio
ATTEMPTS: Final = 4  # a ratio that is too low is measured again, and the highest one is compared

Ratios = Mapping[str, float]
SHORT_FORMS: Final[Mapping[str, Callable[[], Ratios]]] = {
    "ingest": ingest.measure,
    "requests": requests.measure,
    "exports": exports.measure,
    "webhooks": deliveries.measure,
    "reports": conversion.measure,
}

_HEADER: Final = """\
# The ratios that `make test-slow` compares with new measurements: CPU time of a reference / CPU time of the service.
# `python -m benchmarks.guard` measures them, and `--write` replaces them.
"""


class ComparedRatio(NamedTuple):
    """A measured ratio and the committed one."""

    benchmark: str
    name: str
    committed: float
    measured: float

    @property
    def is_slower(self) -> bool:
        return self.measured < self.committed * TOLERANCE

    def describe(self) -> str:
        """Return a sentence that names the ratio."""
        return (
            f"{self.benchmark}.{self.name}: measured {self.measured:.3f}, committed {self.committed:.3f}, "
            f"limit {self.committed * TOLERANCE:.3f}"
        )


def committed_ratios() -> Mapping[str, Ratios]:
    """Return the committed ratios of each benchmark."""
    ratios: Mapping[str, Ratios] = tomllib.loads(RATIOS_FILE.read_text())
    return ratios


def write_ratios(ratios: Mapping[str, Ratios]) -> None:
    """Replace the committed ratios."""
    tables = (
        f"\n[{benchmark}]\n" + "".join(f"{name} = {value:.3f}\n" for name, value in of_benchmark.items())
        for benchmark, of_benchmark in ratios.items()
    )
    RATIOS_FILE.write_text(_HEADER + "".join(tables))


def compare(benchmark: str, measure: Callable[[], Ratios], committed: Ratios) -> list[ComparedRatio]:
    """Measure each committed ratio. If one of them is too low, measure again, and return the highest ones."""
    best: dict[str, float] = {}
    for _ in range(ATTEMPTS):
        for name, ratio in measure().items():
            best[name] = max(ratio, best.get(name, 0.0))
        compared = [ComparedRatio(benchmark, name, ratio, best[name]) for name, ratio in committed.items()]
        if not any(ratio.is_slower for ratio in compared):
            break
    return compared


def explain(slower: list[ComparedRatio]) -> str:
    """Return the message about ratios that are too low, and the possible actions."""
    lines = [
        f"{ratio.describe()}: the service needs {ratio.committed / ratio.measured:.1f} times as much CPU time as before"
        for ratio in slower
    ]
    command = f"python -m benchmarks.guard {' '.join(dict.fromkeys(ratio.benchmark for ratio in slower))}"
    return "\n".join(
        [*lines, f"Find the cause with `{command}` and the complete benchmark.",
         f"If the change is intended, write the new ratios into {RATIOS_FILE.name} with `{command} --write`."]
    )  # fmt: skip
