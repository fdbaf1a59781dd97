"""CI jobs without a key: report, gate, and comment with the ID token of each system, issued by a real provider."""

import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.client.code_hosts import CodeHostServer, serving_code_host
from tests.client.recorded_jobs import FOLDER, RecordedJob, load
from tests.integrations.steps import Outcome, execute, run_buildkite_hook, use_action
from tests.oidc.provider import OidcProvider
from tests.pipelines.job_tokens import JobTokens, giving_tokens, new_public_url, publish
from tests.report_api import Reports, serving_reports_with_ingester

pytestmark = pytest.mark.nightly

SCRIPT: Final = (Path(__file__).parent / "job_without_key.sh").read_text()
PASSING: Final = '<testsuite name="shop"><testcase name="pays"/><testcase name="ships"/></testsuite>'
FAILING: Final = PASSING.replace('name="ships"/>', 'name="ships"><failure message="expected 200 got 503"/></testcase>')
# By system: a pull request, and another ID of the pipeline in a recorded push.
SYSTEMS: Final = {
    "github": ("github-pull-request", {"GITHUB_RUN_ID": "1"}),
    "gitlab": ("gitlab-merge-request", {"CI_PIPELINE_ID": "1"}),
    "buildkite": ("buildkite-pull-request", {"BUILDKITE_BUILD_ID": "0184990a-477b-4fa8-9968-496074483001"}),
    "circleci": ("circleci-pull-request", {"CIRCLE_PIPELINE_ID": "5034460f-c7c4-4c43-9457-de07e2029001"}),
}


@dataclass
class Jobs:
    """A server with the public URL that is the audience of tokens, and the CI system that executes jobs."""

    reports: Reports
    host: CodeHostServer
    tokens: JobTokens
    issuer: str
    url: str
    folder: Path

    async def publish(self, system: str, project: str) -> None:
        """Create a trusted publisher."""
        await publish(self.reports, system, project, self.issuer)

    async def variables(
        self, job: RecordedJob, changed: Mapping[str, str], claims: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the variables of a job, which contain no secret of the server."""
        variables = {**job.with_event(self.folder), **changed}
        programs = self.folder / "bin"
        token = await self.tokens.variables(job.system, variables, self.url, programs, claims)
        hosts = {
            "GITHUB_API_URL": self.host.url, "GITHUB_GRAPHQL_URL": f"{self.host.url}/graphql", "GITHUB_TOKEN": "ghs",
            "CI_API_V4_URL": self.host.url, "GITLAB_TOKEN": "glpat",
        }  # fmt: skip
        path = f"{programs}:{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        return {**variables, **token, **hosts, "RESULTS_URL": self.url, "PATH": path, "TMPDIR": str(self.folder)}

    async def run(
        self, name: str, report: str, changed: Mapping[str, str] | None = None, script: str = SCRIPT, **claims: str
    ) -> Outcome:
        """Execute the script in a recorded job. `claims` replace those of its token."""
        (self.folder / "junit.xml").write_text(report)
        variables = await self.variables(load(FOLDER / f"{name}.json"), changed or {}, claims)
        outcome = await execute(script, self.folder, variables)
        assert "zof_" not in outcome.output
        assert "eyJ" not in outcome.output  # the start of each ID token
        return outcome


@pytest.fixture
async def jobs(
    database_url: str, tmp_path: Path, client_sha256: str, oidc_provider: OidcProvider
) -> AsyncIterator[Jobs]:
    url = new_public_url()
    async with (
        serving_reports_with_ingester(
            database_url, tmp_path / "storage", public_url=url, issuer_allow_loopback=True
        ) as reports,
        serving_code_host("acme/shop", "75", "62099837", "7") as host, giving_tokens(oidc_provider.sign) as tokens,
    ):  # fmt: skip
        yield Jobs(reports, host, tokens, oidc_provider.url, url, tmp_path)


@pytest.mark.parametrize("system", SYSTEMS)
async def test_job_without_a_key_reports_decides_and_comments(jobs: Jobs, system: str) -> None:
    await jobs.publish(system, "shop")
    pull_request, pipeline = SYSTEMS[system]
    code, output = await jobs.run(f"{system}-push", PASSING, pipeline)
    assert code == 0, output
    code, output = await jobs.run(pull_request, FAILING)
    assert code == 1, output
    assert "new failures: 1, at most 0 allowed" in output
    texts = jobs.host.texts if system in ("github", "gitlab") else [output]
    assert "1 new failure" in texts[0]

    job = load(FOLDER / f"{pull_request}.json").job
    run = await jobs.reports.api.get(f"/v1/runs/{job.pipeline}:shop")
    names = ("branch", "commit_sha", "pull_request", "pipeline")
    assert {name: run[name] for name in names} == {name: getattr(job, name) for name in names}
    exchanges = (await jobs.reports.api.get("/v1/token-exchanges"))["data"]
    assert {exchange["refusal"] for exchange in exchanges} == {None}


@pytest.mark.parametrize("system", SYSTEMS)
async def test_job_of_several_projects_gets_a_key_for_each(jobs: Jobs, system: str) -> None:
    for project in ("docs", "shop"):
        await jobs.publish(system, project)
    script = f"{SCRIPT.partition('python3')[0]}set +e\npython3 client.pyz "
    code, output = await jobs.run(f"{system}-push", PASSING, script=f"{script}report junit.xml --pipeline")
    assert (code, "--project: must be set, which is one of: docs, shop" in output) == (1, True)
    for project in ("docs", "shop"):
        report = f"{script}report junit.xml --pipeline --wait --project {project}"
        code, output = await jobs.run(f"{system}-push", FAILING if project == "shop" else PASSING, script=report)
        assert code == 0, output
    code, output = await jobs.run(f"{system}-push", PASSING, script=f"{script}gate --pipeline")
    assert code == 1, output
    pipeline = load(FOLDER / f"{system}-push.json").job.pipeline
    assert f"run {pipeline}:docs" in output
    assert f"run {pipeline}:shop" in output
    code, output = await jobs.run(f"{system}-push", PASSING, script=f"{script}gate --run-id {pipeline}:docs")
    assert code == 0, output


async def test_token_of_a_fork_is_refused_and_its_job_skipped(jobs: Jobs) -> None:
    await jobs.publish("gitlab", "shop")
    code, output = await jobs.run("gitlab-fork", FAILING, project_id="9")
    assert code == 0, output
    assert output.count("skipped, because the jobs of a pull request from a fork have no API key") == 3
    code, output = await jobs.run("gitlab-push", FAILING, project_id="9")
    assert code != 0
    assert "project_id=9, namespace_id=9970. A trusted publisher must have this issuer and these claims" in output


async def test_integrations_need_no_key(jobs: Jobs) -> None:
    (jobs.folder / "junit.xml").write_text(PASSING)
    for system in ("github", "buildkite"):
        await jobs.publish(system, system)
        variables = await jobs.variables(load(FOLDER / f"{system}-push.json"), {}, {})
        if system == "github":
            variables |= {"RUNNER_TEMP": str(jobs.folder)}
            contexts = {"github.token": "ghs"}
            code, output = await use_action(jobs.folder, variables, contexts, url=jobs.url, files="junit.xml")
        else:
            code, output = await run_buildkite_hook(jobs.folder, variables, url=jobs.url, files="junit.xml", gate="")
        assert code == 0, output
        pipeline = load(FOLDER / f"{system}-push.json").job.pipeline
        assert (await jobs.reports.api.get(f"/v1/runs/{pipeline}:{system}"))["status"] == "passed"
