"""The commands and programs of docs/exports.md, run unchanged and in order, against a served API."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest

from service.events.operations import number_events
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "exports.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
TIMEOUT_S = 120


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with (
        exporting(database_url, (tmp_path / "files").as_uri()) as opened,
        opened.running_worker(),
    ):
        yield opened


async def run(exports: Exports, folder: Path, *command: str) -> str:
    """Run a command in the folder with the packages of this environment, and return its output."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RESULTS_URL": str(exports.api.http.make_url("/")).rstrip("/"),
        "RESULTS_API_KEY": exports.api.key,
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_commands_and_programs_of_the_guide_work(exports: Exports, tmp_path: Path) -> None:
    import pandas

    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "load.py").write_text(next(text for _, text in BLOCKS if text.startswith("# load.py\n")))
    rows = [result("pays", "failed", failure={"message": "no"}), result("ships", started_at="2026-05-20T11:59:00Z")]
    await exports.api.store.ingest(run_event("ci-43", rows), run_event("ci-44", rows))
    await number_events(exports.api.store.pool)
    for language, text in BLOCKS:
        if text.startswith("# load.py\n"):
            continue
        output = await run(exports, folder, *(("bash", "-euc", text) if language == "sh" else ("python3", "-c", text)))
        if "by_case.head" in text:
            assert "pays" in output
        if "export.json" in text:
            exported = pandas.read_parquet(folder / "runs.parquet")
            assert sorted(exported["run_id"]) == ["ci-43", "ci-44"]
    update = next(text for _, text in BLOCKS if "copy/position" in text)
    position = (folder / "copy" / "position").read_text()
    (folder / "update.sh").write_text(update)
    await run(exports, folder, "bash", "-c", "! RESULTS_API_KEY=invalid bash update.sh")
    assert (folder / "copy" / "position").read_text() == position  # the next update repeats a failed one
    await exports.api.send("DELETE", "/v1/runs/ci-43")
    await exports.api.store.ingest(run_event("ci-44", [result("pays")], time="2026-05-20T12:00:01Z"))
    await exports.api.store.ingest(run_event("old", rows, time="2020-01-01T00:00:00Z", notify=False))
    await number_events(exports.api.store.pool)
    await run(exports, folder, "bash", "-euc", update)
    with duckdb.connect(str(folder / "copy" / "warehouse.duckdb")) as warehouse:
        assert warehouse.sql("SELECT run_id, failed FROM runs ORDER BY run_id").fetchall() == [("ci-44", 0), ("old", 1)]
        found = warehouse.sql("SELECT run_id, name, status FROM results ORDER BY run_id, name").fetchall()
    expected = {"ci-44": {"pays": "passed", "ships": "passed"}, "old": {"pays": "failed", "ships": "passed"}}
    assert found == [(run_id, *item) for run_id, statuses in expected.items() for item in statuses.items()]
