"""Tests of .github: the commands are targets of the Makefile, actions are pinned, and jobs state what they may do."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github"
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
OTHER_COMMANDS = {  # commands of the system of the job
    "apt-get update",
    "apt-get install --yes --no-install-recommends ca-certificates git make python3 python3-pip",
    'echo "$GH_TOKEN" | docker login ghcr.io --username "$GITHUB_ACTOR" --password-stdin',
    "gh auth setup-git",
}
JOBS: dict[str, Mapping[str, Any]] = {
    f"{path.stem}:{name}": job
    for path in sorted((FOLDER / "workflows").glob("*.yml"))
    for name, job in yaml.safe_load(path.read_text())["jobs"].items()
}
SOURCES = {path.name: path.read_text() for path in sorted((FOLDER / "workflows").glob("*.yml"))}

each_job = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
each_workflow = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def commands(job: Mapping[str, Any]) -> Iterator[str]:
    """Yield each command of a job, with the values of its matrix in place of their variables."""
    matrix = job.get("strategy", {}).get("matrix", {})
    rows = matrix.get("include", [{name: value} for name, values in matrix.items() for value in values]) or [{}]
    lines = " && ".join(step["run"] for step in job["steps"] if "run" in step)
    for row in rows:
        line = lines.replace('"$TARGET"', row.get("target", "")).replace("$TARGETS", row.get("targets", ""))
        yield from line.split(" && ")


def made_targets(job: Mapping[str, Any]) -> set[str]:
    found = [command.partition(" >>")[0].split()[1:] for command in commands(job) if command.startswith("make ")]
    return {word for words in found for word in words if "=" not in word}


@each_job
def test_each_step_runs_a_target_that_exists(job: Mapping[str, Any]) -> None:
    made = made_targets(job)
    assert made
    assert made - TARGETS == set()
    assert {command for command in commands(job) if not command.startswith("make ")} - OTHER_COMMANDS == set()


def test_all_sets_of_tests_run() -> None:
    made = {name: made_targets(job) for name, job in JOBS.items()}
    assert made["check:make"] == {"check", "test"}
    assert made["nightly:make"] >= {"test-matrix", "test-slow", "test-nightly", "audit"}
    assert made["release:build"] == {"check-release", "check", "test", "release"}


@each_workflow
def test_actions_are_pinned_by_commit_and_name_their_version(source: str) -> None:
    used = re.findall(r"uses: (.*)", source)
    assert used
    assert [
        action for action in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    ] == []


def test_each_action_has_one_version() -> None:
    used = set(re.findall(r"uses: (\S+@\S+)", "".join(SOURCES.values())))
    assert len(used) == len({action.partition("@")[0] for action in used})


@each_workflow
def test_jobs_have_a_time_limit_and_those_of_pull_requests_only_read(source: str) -> None:
    """`make check` checks permissions, credentials, and values in commands with zizmor."""
    for job in yaml.safe_load(source)["jobs"].values():
        assert job["timeout-minutes"]
        assert job["permissions"] == {"contents": "read"} or "pull_request" not in source


def test_actions_images_and_packages_are_updated() -> None:
    updates = yaml.safe_load((FOLDER / "dependabot.yml").read_text())["updates"]
    folders = {update["package-ecosystem"]: update.get("directories", [update.get("directory")]) for update in updates}
    assert folders.keys() == {"github-actions", "docker", "docker-compose", "npm"}
    locks = {f"/{lock.parent.relative_to(ROOT)}" for lock in (ROOT / "tests" / "data").glob("*/package-lock.json")}
    assert set(folders["npm"]) == locks
    assert made_targets(JOBS["dependencies:lock"]) == {"lock", "propose-lock"}


@pytest.mark.parametrize("form", sorted((FOLDER / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_forms_have_unique_fields_with_labels(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert content["name"]
    assert content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert (
        len({field["id"] for field in fields}) == len({field["attributes"]["label"] for field in fields}) == len(fields)
    )
    assert any(field["validations"]["required"] for field in fields if "validations" in field)


def test_files_contain_no_path_of_a_machine_and_no_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for path in (path for path in FOLDER.rglob("*") if path.is_file()):
        text = path.read_text()
        assert not re.search(r"(?<![\w.$}])/(home|root|work|tmp|opt|srv|usr|mnt|Users)/", text), path
        assert not re.search(rf"(?<![\w.]){re.escape(version)}(?![\w.])", text), path
