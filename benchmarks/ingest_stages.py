"""The CPU time of a consumer by stage, sampled in its process: a signal per few ms of CPU time reads the Python stack.

A tracing profiler would multiply the time of small functions. The innermost known frame determines the stage, so that
the time of an extension module counts for its caller.
"""

import atexit
import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

START: Final = signal.SIGUSR1
_INTERVAL_S: Final = 0.002  # of CPU time; the kernel rounds it up to its tick

_OTHER: Final = "other"
# The stage of the innermost frame whose file contains the text.
_STAGES: Final = {
    "failures/fingerprints": "fingerprints",
    "ingest/validate_": "decode and validate",
    "ingest/parse_events": "state of the run, SHA-256 of the body",
    "ingest/parse_results": "outcomes of cases, cache of cases",
    "cases/model": "outcomes of cases, cache of cases",
    "domain/bounded_cache": "outcomes of cases, cache of cases",
    "results/store": "sort, count, and encode rows",
    "results/model": "sort, count, and encode rows",
    "/asyncpg/": "statements: driver",
    "/store.py": "statements: parameters and rows",
    "service/database/": "statements: parameters and rows",
    "events/contract": "events of the service",
    "service/ingest/": "batch: receipts, runs",
    "/aio_pika/": "AMQP: read, decode, acknowledge",
    "/aiormq/": "AMQP: read, decode, acknowledge",
    "/pamqp/": "AMQP: read, decode, acknowledge",
    "/asyncio/streams": "AMQP: read, decode, acknowledge",
    "/consumers/": "AMQP: read, decode, acknowledge",
    "/asyncio/runners": "event loop, sockets",
}


class _Sampler:
    """Counts the stages of the main thread, and writes them at the end of the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: Counter[str] = Counter()
        self._stages: dict[str, str | None] = {}  # by file

    def install(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(START, self._start)
        atexit.register(self._write)

    def _start(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        while frame is not None:
            stage = self._find(frame.f_code.co_filename)
            if stage is not None:
                self._counts[stage] += 1
                return
            frame = frame.f_back
        self._counts[_OTHER] += 1

    def _find(self, file: str) -> str | None:
        if file not in self._stages:
            self._stages[file] = next((stage for part, stage in _STAGES.items() if part in file), None)
        return self._stages[file]

    def _write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._file.write_text(json.dumps(self._counts))


class _Stage(NamedTuple):
    name: str
    samples: int


def command(file: Path) -> tuple[str, ...]:
    """Return the arguments of Python for a consumer that samples itself after the signal START."""
    return "-m", __name__, str(file)


def print_stages(file: Path, us_per_result: float, us_per_event: float) -> None:
    """Print the stages that a consumer wrote when it ended, as shares of its measured CPU time."""
    stages = [_Stage(*item) for item in json.loads(file.read_text()).items()]
    total = sum(stage.samples for stage in stages)
    print(f"{'stage':40} {'share':>6} {'us/result':>10} {'us/event':>9}   ({total} samples)")
    for name, samples in sorted(stages, key=lambda stage: -stage.samples):
        share = samples / total
        print(f"{name:40} {share:6.1%} {share * us_per_result:10.2f} {share * us_per_event:9.1f}")


def main() -> None:
    """Run a consumer with a sampler."""
    file, *roles = sys.argv[1:]
    _Sampler(Path(file)).install()
    sys.argv = ["consumers", *roles]
    runpy.run_module("consumers", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
