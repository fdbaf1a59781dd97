"""Sessions of pytest with the plugin, which tests start in a process of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.client.runner.evidence import install_probe

SUITES = Path(__file__).parents[1] / "data" / "pytest"
TIMEOUT_S = 300
COMMAND = (sys.executable, "-m", "pytest")


@dataclass(frozen=True)
class Session:
    """What a session left behind. `results` are the results in the report, without its first record."""

    code: int
    output: str
    files: list[str]
    evidence: Any
    report: bytes

    @property
    def results(self) -> dict[str, Any]:
        return {result["name"]: result for result in map(json.loads, self.report.splitlines()[1:])}

    @property
    def statuses(self) -> dict[str, str]:
        return {name: result["status"] for name, result in self.results.items()}


def run_session(
    folder: Path, tests: str | Mapping[str, str], *arguments: str, live: bool = True, quarantined: Iterable[str] = (),
    command: Iterable[str] = COMMAND, probe: bool = True, **variables: str,
) -> Session:  # fmt: skip
    """Run pytest as `zof-results run` does. `quarantined` are tests of the module `test_shop`."""
    process = start_session(
        folder, tests, *arguments, live=live, quarantined=quarantined, command=command, probe=probe, **variables
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return read_session(folder, process.returncode, output)


def start_session(
    folder: Path, tests: str | Mapping[str, str], *arguments: str, live: bool = True, quarantined: Iterable[str] = (),
    command: Iterable[str] = COMMAND, probe: bool = True, **variables: str,
) -> subprocess.Popen[str]:  # fmt: skip
    """Start pytest in a new project."""
    project, spool, installed = (folder / name for name in ("project", "spool", "probe"))
    for path in (project, spool, installed):
        path.mkdir(parents=True)
    for name, text in ({"test_shop.py": tests} if isinstance(tests, str) else tests).items():
        (project / name).write_text(text)
    (project / "pytest.ini").touch()
    (spool / "upload.json").write_text(json.dumps({"format": 1, "live": live}))
    quarantines = [{"id": f"qua_{name}", "suite": "pytest > test_shop", "name": name} for name in quarantined]
    (spool / "quarantines.json").write_text(json.dumps({"quarantines": quarantines}))
    if probe:
        install_probe(installed)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment |= {"RESULTS_SPOOL_FOLDER": str(spool), "PYTHONPATH": str(installed), **variables}
    return subprocess.Popen(
        [*command, "-p", "no:cacheprovider", *arguments], cwd=project, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def kill_session(folder: Path, tests: str, awaited: bytes) -> Session:
    """Kill a session after its report contains a text."""
    process = start_session(folder, tests)
    end = time.monotonic() + TIMEOUT_S
    while awaited not in read_session(folder, 0).report and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    output, _ = process.communicate()
    return read_session(folder, process.returncode, output)


def read_session(folder: Path, code: int, output: str = "") -> Session:
    """Return what an ended session left behind."""
    spool = folder / "spool"
    evidence = [json.loads(path.read_bytes()) for path in spool.glob("evidence-*.json")]
    reports = [path.read_bytes() for path in spool.glob("results-*.ndjson")]
    assert len(evidence) < 2
    assert len(reports) < 2
    files = sorted(path.name.partition("-")[0] for path in spool.iterdir())
    return Session(code, output, files, evidence[0] if evidence else None, reports[0] if reports else b"")
