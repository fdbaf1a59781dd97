"""The table of tools: how commands name them, where their reports are, and what their exit codes prove."""

import shlex
from pathlib import Path

import pytest

from service.client.runner.tools import TOOLS, find_tool, tool_names, usual_reports

RECOGNIZED = {
    "pytest": (
        "pytest -q tests", "py.test", "python -m pytest", "python3.12 -X dev -m pytest", ".venv/bin/python -m pytest",
        "/usr/bin/python3 -B -m pytest", ".venv/bin/pytest", "uv run pytest", "uv run --frozen --extra=test pytest",
        "uv run --extra test --with 'pytest<9' pytest", "uv run python -m pytest", "poetry run pytest",
        "env A=b CI= pytest", "env -u A pytest", "timeout 60 pytest", "timeout -k 5 --foreground 60 pytest",
        "nice pytest",
    ),
    "playwright": (
        "npx playwright test", "pnpm exec playwright test", "./node_modules/.bin/playwright test --shard=1/2",
    ),
    "jest": (
        "npx jest", "npx --no jest", "./node_modules/.bin/jest", "npm exec -- jest", "yarn exec jest",
        "node --experimental-vm-modules node_modules/jest/bin/jest.js",
    ),
    "vitest": ("npx vitest run", "pnpm exec vitest", "node node_modules/vitest/vitest.mjs run"),
    "nextest": ("cargo nextest run --profile ci",),
    "robot": ("robot suites", "python -m robot suites", "uv run robot suites"),
    "pabot": ("pabot suites",),
    "behave": ("behave", "python -m behave"),
    "mocha": ("npx mocha",),
    "node-test": ("node --test", "/usr/bin/node --test tests"),
    "gotestsum": ("gotestsum --junitfile junit.xml -- ./...",),
    "go": ("go test -json ./...",),
    "ctest": ("ctest --output-junit junit.xml",),
    "phpunit": ("vendor/bin/phpunit", "phpunit"),
    "rspec": ("bundle exec rspec", "rspec"),
    "prove": ("prove -r t",),
    "bats": ("bats tests", "npx bats tests"),
}  # fmt: skip
# Each of these can have a second cause of its code, or can be another program.
UNKNOWN = (
    "sh -c pytest", "bash -c 'pytest; false'", "make test", "tox", "nox", "npm test", "npm run jest", "yarn jest",
    "pnpm jest", "yarn test", "mvn test", "gradle test", "dotnet test", "cargo test", "coverage run -m pytest",
    "./pytest", "scripts/robot", "/builds/shop/robot", "python robot.py", "python -c 'import pytest'",
    "python -m unittest",
    "uv run --with pytest run.py", "uv run --unknown pytest", "env -S pytest", "timeout 60", "playwright show-report",
    "node jest.js", "node --import ./a.js jest", "pipenv run pytest", "hatch run pytest", "xargs pytest", "",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "command"), [(name, command) for name, known in RECOGNIZED.items() for command in known]
)
def test_command_names_its_tool(name: str, command: str) -> None:
    tool = find_tool(shlex.split(command), None)
    assert tool is not None
    assert tool.name == name


@pytest.mark.parametrize("command", UNKNOWN)
def test_command_with_other_causes_of_its_code_names_no_tool(command: str) -> None:
    assert find_tool(shlex.split(command), None) is None


def test_each_tool_is_recognized_and_can_be_named() -> None:
    assert set(RECOGNIZED) == set(tool_names())
    assert [find_tool(["make"], name) for name in tool_names()] == list(TOOLS)


def test_only_documented_tools_have_no_other_cause() -> None:
    assert [tool.name for tool in TOOLS if tool.evidence == "documented"] == ["nextest", "robot"]
    for tool in TOOLS:
        assert (tool.other_causes == "") == (tool.evidence == "documented")
        assert tool.source.startswith("https://")


def test_no_code_of_failed_tests_is_a_success_or_a_signal() -> None:
    assert all(tool.failed_codes and 1 <= min(tool.failed_codes) <= max(tool.failed_codes) < 250 for tool in TOOLS)


def test_usual_reports_are_those_of_the_table_of_formats() -> None:
    reports = {tool.name: usual_reports(tool) for tool in TOOLS}
    assert reports["pytest"] == ["junit.xml"]
    assert reports["robot"] == reports["pabot"] == ["output.xml"]
    assert reports["nextest"] == ["**/target/nextest/*/junit.xml"]
    assert reports["mocha"] == ["junit.xml", "**/mochawesome-report/*.json"]
    assert all(reports.values())


def test_program_of_a_virtual_environment_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_tool(["env3/bin/pytest"], None) is None
    (tmp_path / "env3").mkdir()
    (tmp_path / "env3" / "pyvenv.cfg").touch()
    found = find_tool(["env3/bin/pytest", "-q"], None)
    assert found
    assert found.name == "pytest"
    assert find_tool(["bin/pytest"], None) is None
