"""Workflows of GitHub Actions, executed as shell scripts. A step that uses an action is skipped, because it prepares a
machine, except that `actions/upload-artifact` stores a file below `path`, where a `gh` of the test finds it.

It follows the public documentation of GitHub: the default variables, the contexts, and the conditions that the
documented workflow uses. An unknown expression or condition is an error of the test.
"""

import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tests.integrations.steps import execute
from tests.pipelines.job_tokens import JobTokens

_FROM_FORK = "github.event_name == 'pull_request' && github.event.pull_request.head.repo.full_name != github.repository"
_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")


@dataclass(frozen=True)
class ExecutedJob:
    """A job after its execution: the result that GitHub shows, and the outputs of its steps."""

    result: str
    output: str = ""


@dataclass(frozen=True)
class Trigger:
    """The event that starts a workflow, and the run attempt. `replaced` are values of `env` in the workflow."""

    run_id: str
    replaced: Mapping[str, str]
    api_url: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    name: str = "push"
    ref: str = "refs/heads/main"
    sha: str = "0" * 40
    event: Mapping[str, Any] = field(default_factory=dict)
    tokens: JobTokens | None = None

    def pull_request(self, number: int, branch: str, *, is_fork: bool = False) -> "Trigger":
        """Return the event of a pull request. A fork gets neither secrets nor ID tokens."""
        base = {"ref": "main", "repo": {"full_name": "o/r", "fork": False}}
        head_repo = {"full_name": "stranger/r" if is_fork else "o/r", "fork": is_fork}
        head = {"ref": branch, "sha": f"{number:x}".rjust(40, "c"), "repo": head_repo}
        event = {
            "pull_request": {
                "number": number, "title": f"Change {branch}", "user": {"login": "jane"}, "head": head, "base": base,
            },
            "repository": {"full_name": "o/r"},
        }  # fmt: skip
        secrets = {} if is_fork else self.secrets
        return replace(
            self, name="pull_request", ref=f"refs/pull/{number}/merge", event=event, secrets=secrets, sha="1" * 40,
            tokens=None if is_fork else self.tokens,
        )  # fmt: skip

    def after(self, ended: "Trigger") -> "Trigger":
        """Return the event of the end of a workflow, which starts this one on the default branch."""
        head = ended.event["pull_request"]["head"]
        run = {
            "id": int(ended.run_id), "event": ended.name, "head_sha": head["sha"], "head_branch": head["ref"],
            "head_repository": head["repo"], "pull_requests": [],
        }  # fmt: skip
        return replace(self, name="workflow_run", event={"workflow_run": run})

    def variables(self, job: str, folder: Path) -> dict[str, str]:
        """Return the default variables of a job."""
        event = folder / "event.json"
        event.write_text(json.dumps(self.event))
        pull_request = self.event.get("pull_request")
        return {
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": self.run_id, "GITHUB_JOB": job,
            "GITHUB_RUN_ATTEMPT": str(self.attempt), "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "o/r", "GITHUB_REF": self.ref, "GITHUB_REF_NAME": self.ref.split("/", 2)[2],
            "GITHUB_HEAD_REF": pull_request["head"]["ref"] if pull_request else "",
            "GITHUB_BASE_REF": pull_request["base"]["ref"] if pull_request else "",
            "GITHUB_SHA": self.sha, "GITHUB_EVENT_NAME": self.name, "GITHUB_EVENT_PATH": str(event),
            "GITHUB_ACTOR": "jane", "GITHUB_WORKFLOW": "test", "GITHUB_API_URL": self.api_url,
            "GITHUB_GRAPHQL_URL": f"{self.api_url}/graphql", "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        }  # fmt: skip


def block_of_page(page: str, file: str) -> str:
    """Return the complete workflow of a page, which begins with the path of its file."""
    (block,) = re.findall(rf"```yaml\n(# \.github/workflows/{re.escape(file)}\n.*?)```", page, re.DOTALL)
    return str(block)


@dataclass
class Workflow:
    """A documented workflow. `path` is prepended to PATH, so that the jobs find the programs of a test."""

    document: Mapping[str, Any]
    folder: Path
    path: Path
    results: dict[str, list[ExecutedJob]] = field(default_factory=dict)

    @classmethod
    def of_page(cls, page: str, folder: Path, path: Path, file: str = "test.yml") -> "Workflow":
        """Return a complete workflow of a page, which begins with the path of its file."""
        return cls(yaml.safe_load(block_of_page(page, file)), folder, path)

    async def run(self, trigger: Trigger, name: str, outcomes: Mapping[str, str] | None = None) -> list[ExecutedJob]:
        """Execute the jobs of the matrix of a job. `outcomes` has the outcome of the tests by value of the matrix, or
        `canceled` for a job that is canceled before its first step.
        """
        job = self.document["jobs"][name]
        executed = [
            await self._run_one(
                trigger, name, job, matrix, (outcomes or {}).get(next(iter(matrix.values()), ""), "passed")
            )
            for matrix in _combinations(job)
        ]
        self.results[name] = executed
        return executed

    def skip(self, name: str) -> None:
        """Skip a job because of its condition."""
        self.results[name] = [ExecutedJob("skipped")]

    async def _run_one(
        self, trigger: Trigger, name: str, job: Mapping[str, Any], matrix: Mapping[str, str], outcome: str
    ) -> ExecutedJob:
        if outcome == "canceled":
            return ExecutedJob("cancelled")
        self.folder.mkdir(exist_ok=True)
        folder = self.folder / f"{trigger.run_id}-{trigger.attempt}-{name}-{'-'.join(matrix.values())}"
        folder.mkdir()
        contexts = self._contexts(trigger, matrix)
        contexts["strategy.job-total"] = str(len([*_combinations(job)]))
        variables = {
            **trigger.variables(name, folder), **_evaluate_all(self.document["env"], contexts), **trigger.replaced,
            "OUTCOME": outcome,
        }  # fmt: skip
        variables |= _evaluate_all(job.get("env", {}), contexts)
        permissions = job.get("permissions", self.document.get("permissions", {}))
        if trigger.tokens and permissions.get("id-token") == "write":
            variables |= await trigger.tokens.variables("github", variables, variables["RESULTS_URL"], folder)
        result, outputs = "success", []
        for step in job["steps"]:
            if not _applies(step.get("if", "success()"), result, trigger, variables):
                continue
            if step.get("uses", "").startswith("actions/upload-artifact@"):
                self._store(trigger, step["with"]["name"], folder / step["with"]["path"])
            if "run" not in step:
                continue
            contexts |= _outputs_of("report", folder / "output")
            environment = {**variables, **_evaluate_all(step.get("env", {}), contexts | {"job.status": result})}
            script = f'PATH="{self.path}:$PATH"\n{_evaluate(step["run"], contexts)}'
            code, output = await execute(script, folder, environment)
            outputs.append(output)
            if code and not step.get("continue-on-error"):
                result = "failure"
        return ExecutedJob(result, "".join(outputs))

    def _store(self, trigger: Trigger, name: str, file: Path) -> None:
        target = self.path / "artifacts" / trigger.run_id / name
        target.mkdir(parents=True)
        shutil.copy(file, target)

    def _contexts(self, trigger: Trigger, matrix: Mapping[str, str]) -> dict[str, str]:
        needs = {name: {"result": _worst(executed), "outputs": {}} for name, executed in self.results.items()}
        return {
            **{f"matrix.{name}": value for name, value in matrix.items()},
            "secrets.RESULTS_API_KEY": trigger.secrets.get("RESULTS_API_KEY", ""), "github.token": "ghs_token",
            "toJSON(needs)": json.dumps(needs, indent=2), "github.repository": "o/r",
            **_paths("github.event", trigger.event),
            _FROM_FORK: str("stranger/r" in json.dumps(trigger.event) and trigger.name == "pull_request").lower(),
        }  # fmt: skip


def _outputs_of(step: str, file: Path) -> dict[str, str]:
    """Return the outputs that the commands of a job have written so far, as those of this step."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {f"steps.{step}.outputs.{name}": value for name, _, value in (line.partition("=") for line in lines)}


def _combinations(job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    matrix = job.get("strategy", {}).get("matrix", {})
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, map(str, values), strict=True))


def _paths(name: str, value: Any) -> dict[str, str]:
    """Return the texts of an object by their paths, such as `github.event.workflow_run.id`."""
    if isinstance(value, Mapping):
        return {path: text for key, each in value.items() for path, text in _paths(f"{name}.{key}", each).items()}
    return {name: str(value)}


def _applies(condition: str, result: str, trigger: Trigger, variables: Mapping[str, str]) -> bool:
    known = {
        **{f"always() && env.IS_FORK == '{value}'": variables.get("IS_FORK") == value for value in ("true", "false")},
        "success()": result == "success",
        "always()": True,
        "always() && github.event_name == 'pull_request'": trigger.name == "pull_request",
    }
    return known[condition]


def _worst(executed: list[ExecutedJob]) -> str:
    order = ("failure", "cancelled", "success", "skipped")
    return min((job.result for job in executed), key=order.index)


def _evaluate_all(values: Mapping[str, Any], contexts: Mapping[str, str]) -> dict[str, str]:
    return {name: _evaluate(str(value), contexts) for name, value in values.items()}


def _evaluate(text: str, contexts: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: contexts[match[1]], text)
