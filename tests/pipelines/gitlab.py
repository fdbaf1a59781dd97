"""Pipelines of GitLab, executed as shell scripts, with the predefined variables that GitLab documents."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tests.integrations.steps import Outcome, execute
from tests.pipelines.job_tokens import JobTokens

_JOB_IDS = itertools.count(1)


@dataclass(frozen=True)
class GitLabTrigger:
    """The source of a pipeline. `replaced` are values of `variables` in the pipeline, and CI/CD variables."""

    pipeline_id: str
    replaced: Mapping[str, str]
    api_url: str
    source: Mapping[str, str]
    tokens: JobTokens
    claims: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def push(cls, pipeline_id: str, replaced: Mapping[str, str], api_url: str, tokens: JobTokens) -> "GitLabTrigger":
        """Return a push to the default branch."""
        source = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main"}
        return cls(pipeline_id, replaced, api_url, source, tokens)

    def merge_request(self, pipeline_id: str, number: int, branch: str, *, is_fork: bool = False) -> "GitLabTrigger":
        """Return a merge request pipeline. The pipeline of a fork has no CI/CD variables of the project,
        and the ID tokens of its jobs are those of the fork.
        """
        source = {
            "CI_PIPELINE_SOURCE": "merge_request_event", "CI_COMMIT_REF_NAME": branch,
            "CI_MERGE_REQUEST_IID": str(number), "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": branch,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_MERGE_REQUEST_TITLE": f"Change {branch}",
            "CI_MERGE_REQUEST_PROJECT_ID": "3", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "9" if is_fork else "3",
        }  # fmt: skip
        secrets = ("GITLAB_TOKEN",)
        replaced = {name: value for name, value in self.replaced.items() if not is_fork or name not in secrets}
        claims = {"project_id": "9"} if is_fork else {}
        return replace(self, pipeline_id=pipeline_id, source=source, replaced=replaced, claims=claims)

    def variables(self, name: str) -> dict[str, str]:
        """Return the predefined variables of a job. Each execution of a job has a higher ID."""
        job_id = str(next(_JOB_IDS))
        return {
            "CI": "true", "GITLAB_CI": "true", "CI_PIPELINE_ID": self.pipeline_id, "CI_JOB_NAME": name,
            "CI_JOB_ID": job_id, "CI_JOB_URL": f"https://gitlab.example.org/o/r/-/jobs/{job_id}",
            "CI_COMMIT_SHA": "c" * 40, "CI_PROJECT_ID": "3", "CI_PROJECT_NAME": "r", "CI_API_V4_URL": self.api_url,
            "CI_PROJECT_URL": "https://gitlab.example.org/o/r", "CI_DEFAULT_BRANCH": "main",
            "GITLAB_USER_LOGIN": "jane", "CI_COMMIT_TITLE": "Change", **self.source,
        }  # fmt: skip


@dataclass
class GitLabPipeline:
    """A documented pipeline. `path` is prepended to PATH, so that the jobs find the programs of a test."""

    document: Mapping[str, Any]
    folder: Path
    path: Path

    @classmethod
    def of_page(cls, page: str, folder: Path, path: Path) -> "GitLabPipeline":
        """Return the complete pipeline of a page: the block with stages."""
        blocks = re.findall(r"```yaml\n(# \.gitlab-ci\.yml\n.*?)```", page, re.DOTALL)
        (block,) = [text for text in blocks if "stages:" in text]
        return cls(yaml.safe_load(block), folder, path)

    async def run(self, trigger: GitLabTrigger, name: str, outcomes: Mapping[str, str] | None = None) -> list[Outcome]:
        """Execute the parallel jobs of a job. `outcomes` has the outcome of the tests by value of the matrix, or
        `canceled`. The commands of `script` and of `after_script` run in different shells.
        """
        job = self.document[name]
        return [
            await self._run_one(trigger, name, job, matrix, outcome)
            for matrix in _combinations(job)
            if (outcome := (outcomes or {}).get(next(iter(matrix.values()), ""), "passed")) != "canceled"
        ]

    async def _run_one(
        self, trigger: GitLabTrigger, name: str, job: Mapping[str, Any], matrix: Mapping[str, str], outcome: str
    ) -> Outcome:
        shown = f"{name}: [{', '.join(matrix.values())}]" if matrix else name
        variables = trigger.variables(shown)
        folder = self.folder / f"{trigger.pipeline_id}-{variables['CI_JOB_ID']}"
        folder.mkdir(parents=True)
        variables |= {
            key: str(value) for key, value in {**self.document["variables"], **job.get("variables", {})}.items()
        }
        variables |= {**matrix, **trigger.replaced, "OUTCOME": outcome}
        (token,) = self.document["default"]["id_tokens"].items()
        audience = re.sub(r"\$(\w+)", lambda match: variables[match[1]], token[1]["aud"])
        given = await trigger.tokens.variables("gitlab", variables, audience, folder, trigger.claims)
        variables[token[0]] = given["RESULTS_ID_TOKEN"]
        outcomes = [
            await execute("\n".join([f'PATH="{self.path}:$PATH"', *_flat(job[section])]), folder, variables)
            for section in ("script", "after_script")
            if section in job
        ]
        return Outcome(outcomes[0].code, "".join(each.output for each in outcomes))


def _combinations(job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for matrix in job.get("parallel", {}).get("matrix", [{}]):
        for values in itertools.product(*matrix.values()):
            yield dict(zip(matrix, values, strict=True))


def _flat(commands: Sequence[Any]) -> list[str]:
    """Return the commands, as GitLab does for references to other lists."""
    return [line for each in commands for line in ([each] if isinstance(each, str) else _flat(each))]
