"""Parallel jobs of real tools, one of which is killed: the gate names exactly its files, and passes after a retry."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.gates.excusing import Jobs
from tests.integrations.node_tools import install
from tests.pipelines.gitlab import GitLabTrigger
from tests.pipelines.job_tokens import JobTokens
from tests.report_api import serving_reports_with_ingester
from tests.runner.executions import TIMEOUT_S, Checkout

TOTAL: Final = 4
KILLED: Final = 3
PYTEST: Final = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
FILES: Final = [f"tests/test_{number:02}.py" for number in range(40)]
PYTHON_TESTS: Final = {
    **{name: f"import time\ndef test_it(): time.sleep({int(name[-5:-3]) / 400})\n" for name in FILES},
    "pytest.ini": "[pytest]\n",
    "conftest.py": """import os, pathlib, time
def pytest_sessionfinish():
    if os.environ.get("HANGS"):
        pathlib.Path("hangs").touch()
        time.sleep(600)
""",
}
SPEC: Final = """const { test } = require("@playwright/test");
test("pays {number}", () => new Promise((done) => setTimeout(done, Number("{number}0"))));
""".replace("{ test }", "{{ test }}")
SPECS: Final = [f"e2e/{number:02}.spec.js" for number in range(12)]
NODE_TESTS: Final = {
    **{name: SPEC.format(number=name[4:6]) for name in SPECS},
    "playwright.config.js": """module.exports = {
  testDir: ".", workers: 2, globalTeardown: "./down.js",
  reporter: [["line"], ["@zof-results/playwright", { split: process.env.SPLIT, splitKey: "e2e" }]],
};
""",
    "down.js": """module.exports = async () => {
  if (!process.env.HANGS) return;
  require("fs").writeFileSync("hangs", "");
  await new Promise((done) => setTimeout(done, 600000));
};
""",
}  # fmt: skip


@pytest.fixture
async def jobs(database_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as reports:
        yield Jobs(reports)


@dataclass
class Pipeline:
    """A pipeline of a merge request in GitLab, or of the default branch. Each job has a checkout of its own."""

    jobs: Jobs
    folder: Path
    files: dict[str, str]
    trigger: GitLabTrigger
    variables: dict[str, str] = field(default_factory=dict)
    killed: int = 0

    def checkout(self, name: str, **variables: str) -> Checkout:
        """Return the checkout of the next execution of a job, which can exist."""
        url, folder = str(self.jobs.api.http.make_url("/")), self.folder / name.replace("/", "-")
        server = {"RESULTS_URL": url, "RESULTS_API_KEY": self.jobs.api.key, "RESULTS_PROJECT": "shop"}
        if not folder.exists():
            (folder / ".git").mkdir(parents=True)
            for path, text in self.files.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_text(text)
        return Checkout(folder, {**server, **self.trigger.variables(name), **self.variables, **variables})

    def part(self, number: int, **variables: str) -> Checkout:
        parallel = {"CI_NODE_INDEX": str(number), "CI_NODE_TOTAL": str(TOTAL)}
        return self.checkout(f"tests {number}/{TOTAL}", **parallel, **variables)

    async def run_parts(self, *command: str) -> list[list[str]]:
        """Execute all parts at once, and return their items. The variable KILLED names the killed part, if any.

        It is killed with all of its processes after its tests and before it sends results.
        """
        numbers = range(1, TOTAL + 1)
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(self._run_part(number, *command))
        return [self.assignment(number)[1] for number in numbers]

    async def _run_part(self, number: int, *command: str) -> None:
        if number != self.killed:
            ended = await self.part(number).run("--pipeline", "--", *command)
            assert ended.code == 0, ended.stderr
            return
        job = self.part(number, HANGS="1")
        process = job.start("--pipeline", "--", *command, start_new_session=True)
        async with asyncio.timeout(TIMEOUT_S):
            while not (job.folder / "hangs").exists():
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    async def decide(self) -> tuple[int, Any]:
        """Return the exit code of the gate after all jobs, and its decision."""
        ended = await self.checkout("gate").execute("gate", "--pipeline", "--json")
        [run] = json.loads(ended.stdout)["runs"]
        return ended.code, run["decision"]

    async def missing(self, tool: str) -> list[str]:
        """Return the lines that select the missing tests."""
        selected = await self.checkout("failed").execute("failed", "--pipeline", "--missing", "--format", tool)
        assert selected.code == 0, selected.stderr
        return selected.stdout.decode().splitlines()

    def assignment(self, number: int) -> tuple[Path, list[str]]:
        """Return the file of the assignment of a job, and its items."""
        [path] = (self.part(number).folder / ".zof-results" / "splits").glob("*.json")
        return path, json.loads(path.read_bytes())["assignment"]["items"]


async def kill_job(jobs: Jobs, folder: Path, files: dict[str, str], *command: str, **variables: str) -> Pipeline:
    """Execute a pipeline of the default branch, and one of a merge request with a killed job, which the gate blocks."""
    push = GitLabTrigger.push("1", {}, "", JobTokens(lambda _: ""))
    earlier = Pipeline(jobs, folder / "1", files, push, variables)
    await earlier.run_parts(*command)
    code, decision = await earlier.decide()
    assert (code, decision["missing_items"]) == (0, 0), decision

    pipeline = Pipeline(jobs, folder / "2", files, push.merge_request("2", 7, "change"), variables, KILLED)
    parts = await pipeline.run_parts(*command)
    code, decision = await pipeline.decide()
    items = [item for part in parts for item in part]
    assert sorted(items) == sorted(name for name in files if name.startswith(("tests/", "e2e/")))
    missing = [(each["item"], each["index"], each["reason"]) for each in decision["missing_items_sample"]]
    assert missing == [(item, KILLED, "no_upload") for item in parts[KILLED - 1]]
    blocking = [rule["rule"] for rule in decision["rules"] if not rule["passed"]]
    assert (code, "max_missing_items" in blocking, decision["missing_items"]) == (1, True, len(missing))
    return pipeline


@pytest.mark.slow
async def test_killed_job_of_pytest(jobs: Jobs, tmp_path: Path) -> None:
    pipeline = await kill_job(jobs, tmp_path, PYTHON_TESTS, *PYTEST, "--zof-split=auto")
    path, lost = pipeline.assignment(KILLED)
    nodes = await pipeline.missing("pytest")
    assert sorted(node.partition("::")[0] for node in nodes) == lost

    repaired = pipeline.part(KILLED)
    (repaired.folder / "missing.txt").write_text("\n".join(nodes))
    command = [*PYTEST, "--junitxml=junit.xml", "@missing.txt"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=repaired.folder, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout
    sent = await repaired.execute("report", "--pipeline", "--wait", "--split", str(path), "junit.xml")
    assert sent.code == 0, sent.stderr
    code, decision = await pipeline.decide()
    assert (code, decision["missing_items"], decision["decision"]) == (0, 0, "passed"), decision


@pytest.mark.nightly
async def test_killed_job_of_playwright(jobs: Jobs, tmp_path: Path) -> None:
    installed = install(tmp_path / "tool", "@playwright/test@1.65.1").folder / "node_modules"
    command = (str(installed / ".bin" / "playwright"), "test")
    pipeline = await kill_job(jobs, tmp_path, NODE_TESTS, *command, SPLIT="auto", NODE_PATH=str(installed))
    _, lost = pipeline.assignment(KILLED)
    lines = await pipeline.missing("playwright")
    assert sorted(line.partition(" › ")[0] for line in lines) == lost

    retried = await pipeline.part(KILLED).run("--pipeline", "--", *command)
    assert retried.code == 0, retried.stderr
    assert pipeline.assignment(KILLED)[1] == lost
    code, decision = await pipeline.decide()
    assert (code, decision["missing_items"], decision["decision"]) == (0, 0, "passed"), decision
