"""Executes the kinds of failures with `zof-results run`, against a served API with a baseline and a quarantine."""

import asyncio
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from service.client.runner.tools import find_tool
from tests.integrations.steps import server_variables
from tests.report_api import Reports
from tests.runner.installed_tools import InstalledTools
from tests.runner.kinds import PAYS_FAILS, Change, states_code
from tests.runner.projects import PROJECTS

_PROGRAM = Path(sys.prefix) / "bin" / "zof-results"
_TIMEOUT_S = 180
_EXCUSED = re.compile(r"^run: the exit code is 0 instead of \d+", re.MULTILINE)
_DOUBT = re.compile(r"^  (\w+): ", re.MULTILINE)
_KNOWN_FAILURES = {"exit_code", "quarantines"}


class CellOutcome(NamedTuple):
    """What `zof-results run` did: `excused`, `failed`, `refused`, or `passed`, its exit code, and its output."""

    word: str
    code: int
    output: str


class Matrix:
    """The tools, their projects, and the projects of the service, which are prepared at the first use."""

    def __init__(self, reports: Reports, tools: InstalledTools, folder: Path) -> None:
        self._reports = reports
        self._tools = tools
        self._folder = folder
        self._projects: set[str] = set()
        self._cases: dict[str, dict[str, str]] = {}

    def lacks(self, tool: str) -> bool:
        """Return whether a tool isn't installed."""
        return self._tools.lacks(PROJECTS[tool].command.split()[0])

    async def execute(self, tool: str, change: Change) -> CellOutcome:
        """Execute a kind of failure with a tool."""
        project_id = await self._prepare(tool, change)
        folder = self._copy(tool)
        self._write(tool, change, folder)
        variables = {**PAYS_FAILS, **change.variables}
        options = ["--branch", "topic", *(_fill(option, tool, "") for option in change.options)]
        if states_code(tool, change):
            options += ["--tests-failed-exit", str(_failed_code(tool))]
        return await self._run(project_id, folder, variables, options, _command(tool, change))

    async def _prepare(self, tool: str, change: Change) -> str:
        """Return the project of the service, with a passing run of the base branch, and a quarantine."""
        project_id = f"{tool}-{change.quarantining}-{'' if change.has_baseline else 'new'}"
        if project_id in self._projects:
            return project_id
        if change.has_baseline:
            await self._build(tool)
            folder = self._copy(tool)
            outcome = await self._run(project_id, folder, {}, ["--branch", "main"], _command(tool, Change("excused")))
            assert outcome.word == "passed", outcome.output
            if report := PROJECTS[tool].report:
                shutil.copy(folder / report, self._folder / f"{tool}.passing")
                await self._call(folder, _fill("{command}", tool, ""), PAYS_FAILS)
                shutil.copy(folder / report, self._folder / f"{tool}.old")
            self._cases[tool] = await self._find_pays(project_id)
        else:
            await self._prepare(tool, change._replace(has_baseline=True))
        await self._quarantine(project_id, self._cases[tool], change)
        self._projects.add(project_id)
        return project_id

    async def _find_pays(self, project_id: str) -> dict[str, str]:
        """Return the suite and the name of the test."""
        results = (await self._reports.api.get("/v1/results", {"project_id": project_id}))["data"]
        (pays,) = [each for each in results if "pays" in each["name"].lower()]
        return {"suite": pays["suite"], "name": pays["name"]}

    async def _quarantine(self, project_id: str, case: dict[str, str], change: Change) -> None:
        api = self._reports.api
        exact = {"project_id": project_id, "reason": "flaky", **case}
        body: dict[str, Any] = exact
        if change.quarantining == "none":
            return
        if change.quarantining == "glob":
            body = {**exact, "name": "*"}
        elif change.quarantining == "variant":
            body = {**exact, "variant": {"os": "linux"}}
        elif change.quarantining == "other_project":
            body = {**exact, "project_id": f"{project_id}-other"}
        response = await api.send("POST", "/v1/quarantines", json=body)
        quarantine = await response.json()
        assert response.status == 201, quarantine
        if change.quarantining == "ended":
            assert (await api.send("DELETE", f"/v1/quarantines/{quarantine['id']}")).status in (200, 204)
        if change.quarantining == "expired":
            expired = "UPDATE quarantines SET expires_at = now() - interval '1 minute' WHERE project_id = $1"
            await api.store.pool.execute(expired, project_id)

    async def _build(self, tool: str) -> None:
        if self._built(tool).exists():
            return
        folder = self._folder / tool
        for path, text in PROJECTS[tool].files.items():
            _write(folder / path, text)
        (folder / "node_modules").symlink_to(self._tools.node_modules)
        if prepare := PROJECTS[tool].prepare:
            await self._call(folder, prepare, {})
        folder.rename(self._built(tool))

    def _built(self, tool: str) -> Path:
        return self._folder / f"{tool}-built"

    def _copy(self, tool: str) -> Path:
        """Return a new copy of the built project. Its path is always the same, as build tools need it."""
        folder = self._folder / tool
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._built(tool), folder, symlinks=True)
        if report := PROJECTS[tool].report:
            (folder / report).unlink(missing_ok=True)
        return folder

    def _write(self, tool: str, change: Change, folder: Path) -> None:
        """Write the files of a kind."""
        for path, text in change.files.items():
            file = folder / _fill(path, tool, "")
            if text is None:
                file.unlink()
            elif text in ("{old}", "{passing}"):
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self._folder / f"{tool}.{text[1:-1]}", file)
            else:
                _write(file, _fill(text, tool, change.append))

    async def _run(
        self, project_id: str, folder: Path, variables: Mapping[str, str], options: list[str], command: list[str]
    ) -> CellOutcome:
        server = {**server_variables(self._reports), "RESULTS_PROJECT": project_id}
        arguments = [str(_PROGRAM), "run", "--run-id", uuid4().hex, "--part", "test", *options, "--", *command]
        code, output = await self._start(arguments, folder, {**server, **variables})
        if code == 0:
            word = "excused" if _EXCUSED.search(output) else "passed"
        else:
            word = "failed" if _KNOWN_FAILURES.intersection(_DOUBT.findall(output)) else "refused"
        return CellOutcome(word, code, output)

    async def _call(self, folder: Path, command: str, variables: Mapping[str, str]) -> None:
        await self._start(["sh", "-c", command], folder, variables)

    async def _start(self, arguments: list[str], folder: Path, variables: Mapping[str, str]) -> tuple[int, str]:
        environment = {**self._tools.variables(), **variables}
        process = await asyncio.create_subprocess_exec(
            *arguments, cwd=folder, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")


def _command(tool: str, change: Change) -> list[str]:
    if change.shell:
        return ["sh", "-c", _fill(change.shell, tool, change.append)]
    return shlex.split(_fill(change.command or "{command}", tool, change.append))


def _fill(text: str, tool: str, append: str) -> str:
    project = PROJECTS[tool]
    command = project.command if "{append}" in project.command else f"{project.command} {{append}}"
    values = {
        "command": command.replace("{append}", append).strip(), "report": project.report, "tool": tool,
        "code": str(_failed_code(tool)),
    }  # fmt: skip
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _failed_code(tool: str) -> int:
    found = find_tool((), tool)
    assert found is not None
    return found.failed_codes[0]


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
