"""The costs of `zof-results run`: its CPU time, the wait at its end, and the time of the plugins per test.

    python -m benchmarks.runner [--rounds 5] [--results 10000] [run] [pytest] [reporters]

Budgets: 300 ms of CPU time more than the bare command; 2 s from the end of the command to the exit for 10,000 results;
20 µs per test for the plugins. The variants are executed alternately. CPU times are of whole processes, so other
programs on the machine change them less than elapsed times. The tests of `run` fail, so that it requests an excuse.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.attachments import create_organization
from benchmarks.query_load import server_process
from benchmarks.servers import BenchmarkServers, consumer_process, servers
from service.client import archive
from service.client.runner.evidence import install_probe

PORT: Final = 18088
# The development tools install packages that the command line of httpx imports, but not the packages of a client.
CLIENT: Final = (
    "import sys\nsys.modules['httpx._main'] = None\nsys.path.insert(0, '{}')\n"
    "from service.client.__main__ import main\nmain()\n"
)
_ROOT: Final = Path(__file__).parents[1]
REPORTERS: Final = ("playwright", "jest", "vitest")
FILES: Final = 100
TESTS_PER_FILE: Final = 1_000


class Cost(NamedTuple):
    """The CPU time of a process with its children, and the time at which it ended."""

    cpu_s: float
    ended_at: float


def measure(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Cost:
    """Execute a command without output."""
    process_id = os.fork()
    if not process_id:
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        compiled = {"PYTHONPATH": str(_ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}  # as if installed
        os.execvpe(command[0], list(command), {**inherited, **compiled, **variables})
    _, _, usage = os.wait4(process_id, 0)
    return Cost(usage.ru_utime + usage.ru_stime, time.time())


def executing(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Callable[[], float]:
    """Return a function that executes a command, and returns its CPU time."""
    return lambda: measure(command, folder, variables).cpu_s


def alternate(rounds: int, variants: Mapping[str, Callable[[], float]]) -> Mapping[str, float]:
    """Return the median of what each variant adds to the bare one in the same round. The first round isn't counted."""
    found = [{name: execute() for name, execute in variants.items()} for _ in range(rounds + 1)][1:]
    return {name: statistics.median(each[name] - each["bare"] for each in found) for name in variants if name != "bare"}


def write_report(path: Path, results: int) -> None:
    """Write a report, in which 1 % of the tests fail."""
    failure = "<failure message='no'/>"
    cases = (f"<testcase name='case {n}' time='0.1'>{'' if n % 100 else failure}</testcase>" for n in range(results))
    path.write_text(f"<testsuite name='shop'>{''.join(cases)}</testsuite>")


def measure_run(stack: BenchmarkServers, rounds: int, results: int) -> None:
    """Print the CPU time that `run` adds, and the time from the end of the command to the exit."""
    variables = {
        "RESULTS_URL": f"http://127.0.0.1:{PORT}", "RESULTS_PROJECT": "shop",
        "RESULTS_API_KEY": asyncio.run(create_organization(stack.database_url)),
    }  # fmt: skip
    folder = stack.folder / "checkout"
    folder.mkdir()
    command = ["sh", "-c", "cp $0 junit.xml; exit 1"]
    delays: list[float] = []

    def wrapped(source: str, *client: str) -> float:
        run = ["--run-id", f"run-{time.monotonic_ns()}", "--tests-failed-exit", "1", "--report", "junit.xml", "--"]
        cost = measure([sys.executable, *client, "run", *run, *command, source], folder, variables)
        if source == "large.xml":
            delays.append(cost.ended_at - (folder / "junit.xml").stat().st_mtime)
        return cost.cpu_s

    packed = folder / "client.pyz"
    archive.build(packed)
    write_report(folder / "small.xml", 100)
    write_report(folder / "large.xml", results)
    url = (stack.folder / "files").as_uri()
    with (
        consumer_process(stack, "reports", RESULTS_ARTIFACTS_URL=url, RESULTS_AMQP_URL=""),
        server_process(stack.database_url, PORT, RESULTS_ARTIFACTS_URL=url, RESULTS_AMQP_URL=""),
    ):
        found = alternate(
            rounds,
            {
                "bare": executing([*command, "small.xml"], folder, {}),
                "python": executing([sys.executable, "-c", "pass"], folder, {}),
                "installed": lambda: wrapped("small.xml", "-c", CLIENT.format(_ROOT)),
                "large": lambda: wrapped("large.xml", "-c", CLIENT.format(_ROOT)),
                "archive": lambda: wrapped("small.xml", "-c", CLIENT.format(packed)),
            },
        )
    for name, cpu_s in found.items():
        print(f"run, {name}: {cpu_s * 1000:.0f} ms of CPU time more than the bare command")
    print(f"run: {statistics.median(delays[1:]):.2f} s from the end of the command to the exit, {results:,} results")


def prepare_spool(folder: Path, name: str, *, live: bool) -> Mapping[str, str]:
    """Return the variables with which `run` starts a command."""
    spool = folder / f"{name}-{live}"
    spool.mkdir()
    install_probe(spool)
    (spool / "upload.json").write_text(json.dumps({"format": 1, "run_id": "r", "fields": [], "live": live}))
    return {"RESULTS_SPOOL_FOLDER": str(spool), "PYTHONPATH": str(spool)}


def print_added(title: str, found: Mapping[str, float], tests: int) -> None:
    """Print what each variant adds per test."""
    for name, added_s in found.items():
        print(f"{title}, {name}: {added_s / tests * 1e6:.1f} µs of CPU time per test")


def measure_pytest(folder: Path, rounds: int, tests: int) -> None:
    """Print the CPU time that the plugin of pytest adds."""
    (folder / "test_fast.py").write_text("".join(f"def test_{n}(): pass\n" for n in range(tests)))
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    variants: Mapping[str, Mapping[str, str]] = {
        "bare": {}, "evidence": prepare_spool(folder, "pytest", live=False),
        "live": prepare_spool(folder, "pytest", live=True),
    }  # fmt: skip
    found = alternate(rounds, {name: executing(command, folder, chosen) for name, chosen in variants.items()})
    print_added(f"pytest, {tests:,} tests", found, tests)


def measure_reporters(folder: Path, rounds: int) -> None:
    """Print the CPU time that the reporters of Node.js add."""
    script = str(Path(__file__).with_name("reporters.cjs"))
    for tool in REPORTERS:
        command = ["node", script, tool, str(FILES), str(TESTS_PER_FILE)]
        chosen = prepare_spool(folder, tool, live=True)
        variants = {"bare": executing(command, folder, {}), "reporter": executing(command, folder, chosen)}
        found = alternate(rounds, variants)
        print_added(tool, found, FILES * TESTS_PER_FILE)


def main() -> None:
    """Measure the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["run", "pytest", "reporters"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zof-results-benchmark-") as name:
        folder = Path(name)
        if "run" in arguments.parts:
            with servers(with_broker=False) as stack:
                measure_run(stack, arguments.rounds, arguments.results)
        if "pytest" in arguments.parts:
            measure_pytest(folder, arguments.rounds, arguments.results)
        if "reporters" in arguments.parts:
            measure_reporters(folder, arguments.rounds)


if __name__ == "__main__":
    main()
