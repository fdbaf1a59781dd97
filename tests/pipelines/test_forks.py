"""The two workflows of docs/guides/ci.md for pull requests from forks: an untrusted run, its promotion, and a gate."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.steps import ROOT
from tests.pipelines.conftest import Pipelines
from tests.pipelines.github import ExecutedJob, Trigger, Workflow, block_of_page
from tests.pipelines.job_tokens import PUBLISHED

pytestmark = pytest.mark.nightly

PUBLIC_KEY = "zof_0123456789abcdef0123_the_public_key"
# The pull requests of the repository, the artifacts of its workflow runs, and the statuses that the job sets. Other
# arguments are an error.
GH = """#!{python}
import json, os, pathlib, shutil, subprocess, sys
folder, arguments = pathlib.Path({folder!r}), sys.argv[1:]
if arguments[:4] == ["api", "--method", "GET", "repos/o/r/pulls"]:
    filter_ = arguments[arguments.index("--jq") + 1]
    sys.exit(subprocess.run(["jq", "-r", filter_, folder / "pulls.json"]).returncode)
if arguments[:2] == ["run", "download"]:
    run_id, *options = arguments[2:]
    assert options == ["--name", "receipts", "--dir", "receipts"], arguments
    shutil.copytree(folder / "artifacts" / run_id / "receipts", "receipts")
    sys.exit()
assert arguments[:3] == ["api", "--silent", f"repos/o/r/statuses/{{os.environ['COMMIT']}}"], arguments
fields = dict(text.split("=", 1) for text in arguments[4::2])
assert fields["context"] == "results of forks"
assert fields["target_url"] == "https://github.com/o/r/actions/runs/" + os.environ["GITHUB_RUN_ID"]
with (folder / "statuses").open("a") as statuses:
    print(fields["state"], file=statuses)
"""


class Forks:
    """The pair of workflows in a repository whose project `shop` accepts untrusted runs."""

    def __init__(self, pipelines: Pipelines, public_key: str) -> None:
        self.pipelines = pipelines
        self._public_key = public_key

    async def run(self, trigger: Trigger, outcome: str) -> ExecutedJob:
        """Execute the tests of a change."""
        page = self.pipelines.page.replace(PUBLIC_KEY, self._public_key)
        workflow = Workflow.of_page(page, self.pipelines.folder, self.pipelines.path, "test-shop.yml")
        (job,) = await workflow.run(trigger, "test", {"": outcome})
        return job

    async def decide(self, trigger: Trigger) -> ExecutedJob:
        """Execute the trusted workflow after the tests."""
        pulls = [{"number": 11, "head": {"sha": "0" * 40}, "base": {"ref": "other"}}]
        pulls.append({"number": 12, "head": {"sha": f"{12:x}".rjust(40, "c")}, "base": {"ref": "main"}})
        (self.pipelines.path / "pulls.json").write_text(json.dumps(pulls))
        workflow = Workflow.of_page(
            self.pipelines.page, self.pipelines.folder, self.pipelines.path, "results-of-forks.yml"
        )
        (job,) = await workflow.run(trigger, "decide")
        return job

    def statuses(self) -> list[str]:
        return (self.pipelines.path / "statuses").read_text().split()

    async def intrude(self, run_id: str, commit: str) -> None:
        """Add a passing result of the failing test to a run, as anybody can, and one of another commit."""
        reports, failing = (
            self.pipelines.reports,
            await self.get("/v1/results", run_id=run_id, status="failed", trusted="any"),
        )
        [result] = failing["data"]
        case = f'<testcase classname="{result["suite"]}" name="{result["name"]}"/>'
        for sha in (commit, "e" * 40):
            params = {"commit_sha": sha, "part": "test", "attempt": "2"}
            body = f"<testsuite>{case}<testcase name='{sha}'/></testsuite>".encode()
            sent = await reports.post(body, run_id, params, self._public_key)
            assert sent.status == 202, await sent.text()
            assert (await reports.wait_until_finished(await sent.json()))["status"] == "stored"

    async def get(self, path: str, **params: str) -> Any:
        return await self.pipelines.reports.api.get(path, params)


@pytest.fixture
async def forks(pipelines: Pipelines) -> Forks:
    if shutil.which("jq") is None:
        pytest.skip("jq isn't installed, which stands for gh --jq")
    api, gh = pipelines.reports.api, pipelines.path / "gh"
    gh.write_text(GH.format(python=sys.executable, folder=str(pipelines.path)))
    gh.chmod(0o755)
    issuer = (await api.get("/v1/publishers"))["data"][0]["issuer"]
    await pipelines.reports.ingest(b"<testsuite/>", run_id="first")
    body = {
        "name": "Shop", "provider": "github", "issuer": issuer, "claims": PUBLISHED["github"], "project_id": "shop",
        "role": "engineer",
    }  # fmt: skip
    response = await api.send("POST", "/v1/publishers", json=body)
    assert response.status == 201, await response.text()
    assert (await api.send("PATCH", "/v1/projects/shop", json={"untrusted_uploads": True})).status == 200
    return Forks(pipelines, (await api.make_key("public", project_id="shop")).key)


async def test_run_of_a_fork_is_promoted_and_decided(forks: Forks, pipelines: Pipelines) -> None:
    main = Trigger("1", pipelines.replaced, pipelines.host.url, tokens=pipelines.tokens)
    job = await forks.run(main, "passed")
    assert job.result == "success", job.output
    fork = replace(main, run_id="2").pull_request(12, "main", is_fork=True)
    job = await forks.run(fork, "failed")
    assert job.result == "success", job.output
    run_id = "untrusted:github-2-test"
    stored = await forks.get(f"/v1/runs/{run_id}")
    assert (stored["trusted"], stored["status"], stored["branch"]) == (False, "failed", "fork:main")
    await forks.intrude(run_id, stored["commit_sha"])
    assert (await forks.get(f"/v1/runs/{run_id}"))["status"] == "passed"
    assert run_id not in {run["run_id"] for run in (await forks.get("/v1/runs"))["data"]}

    job = await forks.decide(replace(main, run_id="3").after(fork))
    assert job.result == "failure"
    assert "new failures: 1, at most 0 allowed" in job.output
    stored = await forks.get(f"/v1/runs/{run_id}")
    assert (stored["trusted"], stored["pull_request"], stored["base_branch"]) == (True, "12", "main")
    (decision,) = (await forks.get("/v1/decisions", run_id=run_id))["data"]
    assert (decision["decision"], decision["created_by_name"]) == ("blocked", "Shop")
    (comment,) = pipelines.host.texts
    assert "expected 200 got 503" in comment
    assert forks.statuses() == ["failure"]

    fixed = replace(fork, run_id="4")
    assert (await forks.run(fixed, "passed")).result == "success"
    job = await forks.decide(replace(main, run_id="5").after(fixed))
    assert job.result == "success", job.output
    assert forks.statuses() == ["failure", "success"]


async def test_run_of_another_commit_stays_untrusted(forks: Forks, pipelines: Pipelines, tmp_path: Path) -> None:
    main = Trigger("1", pipelines.replaced, pipelines.host.url, tokens=pipelines.tokens)
    fork = replace(main, run_id="2").pull_request(13, "fix", is_fork=True)
    assert (await forks.run(fork, "passed")).result == "success"
    other = replace(main, run_id="2").pull_request(12, "fix", is_fork=True)
    job = await forks.decide(replace(main, run_id="3").after(other))
    assert job.result == "failure"
    assert "can't be promoted for another commit" in job.output
    assert (await forks.get("/v1/runs/untrusted:github-2-test"))["trusted"] is False
    assert forks.statuses() == ["failure"]


def test_workflows_pass_actionlint_and_zizmor(tmp_path: Path) -> None:
    """zizmor knows workflow_run as a dangerous trigger; the comment in the workflow states why this one is safe."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    page = (ROOT / "docs" / "guides" / "ci.md").read_text()
    for file in ("test-shop.yml", "results-of-forks.yml", "split.yml"):
        (folder / file).write_text(block_of_page(page, file))
    for command in (["actionlint", "-shellcheck=", "-pyflakes="], ["zizmor", "--offline", "--quiet", "."]):
        program = Path(sys.executable).with_name(command[0])
        done = subprocess.run([program, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
