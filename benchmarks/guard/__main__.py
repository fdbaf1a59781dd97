"""Compare short forms of the main benchmarks with the committed ratios.

    python -m benchmarks.guard [--write] [ingest] [requests] [exports] [webhooks] [reports]

Each ratio is the CPU time of a reference divided by the CPU time of the service, so that other programs on the machine
hardly change it. `make test-slow` fails if a ratio is less than 0.65 of the committed one.
"""

import argparse
import time

from benchmarks.guard.comparison import SHORT_FORMS, committed_ratios, compare, explain, write_ratios


def main() -> None:
    """Measure, print, and compare or write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"default: {' '.join(SHORT_FORMS)}")
    parser.add_argument("--write", action="store_true", help="replace the committed ratios with the measured ones")
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmarks) - set(SHORT_FORMS):
        parser.error(f"BENCHMARK: {', '.join(sorted(unknown))} not found; use {', '.join(SHORT_FORMS)}")
    selected = arguments.benchmarks or list(SHORT_FORMS)
    if arguments.write:
        _write(selected)
    else:
        _compare(selected)


def _write(selected: list[str]) -> None:
    measured = {benchmark: SHORT_FORMS[benchmark]() for benchmark in selected}
    for benchmark, ratios in measured.items():
        for name, ratio in ratios.items():
            print(f"{benchmark}.{name}: {ratio:.3f}")
    write_ratios({**committed_ratios(), **measured})


def _compare(selected: list[str]) -> None:
    slower = []
    for benchmark in selected:
        started = time.monotonic()
        compared = compare(benchmark, SHORT_FORMS[benchmark], committed_ratios()[benchmark])
        slower += [ratio for ratio in compared if ratio.is_slower]
        print(f"{benchmark}: {time.monotonic() - started:.0f} s")
        for ratio in compared:
            print(f"  {ratio.describe()}", flush=True)
    if slower:
        raise SystemExit(explain(slower))


if __name__ == "__main__":
    main()
