"""The steps of the integrations, executed in a shell with the variables of a CI system."""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.report_api import Reports

ROOT = Path(__file__).parents[2]
INTEGRATIONS = ROOT / "integrations"

_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")
_GITLAB_INPUT = re.compile(r"\$\[\[ inputs\.(.+?) \]\]")


class Outcome(NamedTuple):
    """The exit code and the output of a step."""

    code: int
    output: str


async def execute(script: str, folder: Path, variables: Mapping[str, str]) -> Outcome:
    """Execute a script as a CI job does, without variables of this process."""
    environment = {"PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **variables}
    process = await asyncio.create_subprocess_exec(
        "bash", "-e", "-o", "pipefail", "-c", script, cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return Outcome(process.returncode or 0, output.decode())


def server_variables(reports: Reports) -> dict[str, str]:
    """Return the URL and the key that a pipeline stores."""
    return {"RESULTS_URL": str(reports.api.http.make_url("")).rstrip("/"), "RESULTS_API_KEY": reports.api.key}


async def use_action(folder: Path, variables: Mapping[str, str], contexts: Mapping[str, str], **inputs: str) -> Outcome:
    """Execute the composite action of GitHub. `contexts` has the values of expressions such as `github.token`."""
    action = _read_yaml("github/action.yml")[0]
    unknown = inputs.keys() - {name.replace("-", "_") for name in action["inputs"]}
    assert not unknown
    defaults = {name: _evaluate(entry.get("default", ""), contexts) for name, entry in action["inputs"].items()}
    given = {f"inputs.{name}": inputs.get(name.replace("-", "_"), default) for name, default in defaults.items()}
    (step,) = action["runs"]["steps"]
    environment = {name: _evaluate(value, given) for name, value in step["env"].items()}
    path = {"GITHUB_ACTION_PATH": str(INTEGRATIONS / "github")}
    return await execute(step["run"], folder, {**variables, **environment, **path})


def gitlab_jobs(**inputs: str) -> dict[str, Any]:
    """Return the jobs of the GitLab component with these inputs."""
    text = (INTEGRATIONS / "gitlab" / "templates" / "results.yml").read_text()
    specification, _ = yaml.safe_load_all(text)
    declared = specification["spec"]["inputs"]
    given = {name: inputs.get(name.replace("-", "_"), entry.get("default")) for name, entry in declared.items()}
    assert None not in given.values(), given
    _, jobs = yaml.safe_load_all(_GITLAB_INPUT.sub(lambda match: given[match[1]], text))
    return {name: {**jobs.get(job.get("extends", ""), {}), **job} for name, job in jobs.items()}


async def run_gitlab_job(job: Mapping[str, Any], section: str, folder: Path, variables: Mapping[str, str]) -> Outcome:
    """Execute a section of a job. GitLab replaces variables in the values of other variables."""
    environment = dict(variables)
    for name, value in job["variables"].items():
        environment[name] = re.sub(r"\$(\w+)", lambda match: environment[match[1]], str(value))
    return await execute("\n".join(job[section]), folder, environment)


async def run_buildkite_hook(folder: Path, variables: Mapping[str, str], **options: str) -> Outcome:
    """Execute the hook of the Buildkite plugin with these options, as the agent does."""
    declared = _read_yaml("buildkite/plugin.yml")[0]["configuration"]["properties"]
    assert options.keys() <= {name.replace("-", "_") for name in declared}
    named = {f"BUILDKITE_PLUGIN_ZOF_RESULTS_{name.upper()}": value for name, value in options.items()}
    return await execute(str(INTEGRATIONS / "buildkite" / "hooks" / "post-command"), folder, {**variables, **named})


def _evaluate(text: str, contexts: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda match: contexts[match[1]], text)


def _read_yaml(name: str) -> list[Any]:
    return list(yaml.safe_load_all((INTEGRATIONS / name).read_text()))
