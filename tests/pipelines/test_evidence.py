"""The gate and the comment of a pull request tell its regressions from flaky, young, and broken tests of main."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from service.client import comment as comments
from service.client.__main__ import client
from tests.client.code_hosts import CodeHostServer, serving_code_host
from tests.integrations.steps import server_variables
from tests.pipelines.github import Trigger
from tests.report_api import Reports, serving_reports_with_ingester
from tests.run_events import result, run_event

RUNS: Final = 30
# The results of the tests on main, oldest first: `p` passed, `F` passed on a retry, `f` failed, and `.` none.
HISTORIES: Final = {
    "repaired": "p" * 9 + "f" * 9 + "p" * 12,
    "flaky": "p" * 6 + "f" + "p" * 12 + "F" + "p" * 10,
    "young": "." * 28 + "pp",
    "broken": "p" * 27 + "fff",
    "steady": "p" * 30,
}
SENTENCES: Final = {
    "repaired": "passed in all 12 runs on main since it was repaired in run main_19",
    "flaky": "failed in 1 and was flaky in 1 of 30 runs on main",
    "young": "passed in all 2 runs on main",
    "broken": "failed in all 3 runs on main since run main_28",
}
TITLES: Final = {
    "repaired": "New failures: 2",
    "flaky": "Failures of flaky cases: 1",
    "young": "New failures: 2",
    "broken": "Known failures: 1",
}
FAILURE: Final = '<failure message="expected 200 got 503"/>'


def of_main(number: int) -> dict[str, Any]:
    """Return a run of main."""
    outcomes: dict[str, dict[str, Any]] = {
        "p": {"status": "passed"},
        "f": {"status": "failed"},
        "F": {"attempts": [{"status": "failed"}, {"status": "passed"}]},
    }
    letters = {name: history[number - 1] for name, history in HISTORIES.items()}
    results = [result(name, suite="shop", **outcomes[letter]) for name, letter in letters.items() if letter != "."]
    return run_event(
        f"main_{number}", results, branch="main", commit_sha=f"{number:040x}",
        completed_at=f"2026-05-{number:02}T12:00:00Z",
    )  # fmt: skip


@dataclass
class PullRequest:
    """The jobs of a pull request, which execute the client."""

    reports: Reports
    host: CodeHostServer
    folder: Path

    async def run(self, pipeline: int, *failing: str) -> tuple[int, str]:
        """Execute a pipeline in which these tests fail, and return the exit code of the gate and what it prints."""
        junit = self.folder / "junit.xml"
        cases = [f'<testcase name="{name}">{FAILURE if name in failing else ""}</testcase>' for name in HISTORIES]
        junit.write_text(f'<testsuite name="shop">{"".join(cases)}</testsuite>')
        trigger = Trigger(str(pipeline), {}, self.host.url).pull_request(12, "topic")
        variables = {**trigger.variables("test", self.folder), **server_variables(self.reports), "GITHUB_TOKEN": "t"}
        await self._execute(variables, "report", str(junit), "--pipeline", "--project", "shop")
        code, output = await self._execute(variables, "gate", "--pipeline", "--max-new-failures", "0", codes=(0, 1))
        await self._execute(variables, "comment", "--pipeline")
        return code, output

    async def _execute(
        self, variables: Mapping[str, str], *arguments: str, codes: tuple[int, ...] = (0,)
    ) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, client, arguments, env=variables)
        assert done.exit_code in codes, done.output
        return done.exit_code, done.output


@pytest.fixture
async def pull_request(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PullRequest]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comments, "_PAUSE_S", 0.02)
    async with (
        serving_reports_with_ingester(database_url, tmp_path / "storage") as reports, serving_code_host() as host
    ):  # fmt: skip
        await reports.api.store.ingest(*map(of_main, range(1, RUNS + 1)))
        yield PullRequest(reports, host, tmp_path)


def listed(text: str, item: str, *, quoted: bool) -> dict[str, tuple[str, str]]:
    """Return the title and the sentence of each failure. `item` begins the line of a failure, and a title ends with a
    number. The sentence is two lines below the failure.
    """
    lines, title = text.splitlines(), ""
    found = {}
    for position, line in enumerate(lines):
        if match := re.fullmatch(
            r"(?:\*\*)?(New failures|Failures of flaky cases|Known failures): (\d+)(?:\*\*)?", line
        ):
            title = f"{match[1]}: {match[2]}"
        elif match := re.match(rf"{item}shop > (\w+)", line):
            sentence = lines[position + 2].strip().removeprefix("<br>")
            found[match[1]] = title, sentence.replace("`", "") if quoted else sentence
    return found


async def test_regressions_block_and_failures_of_main_are_excused(pull_request: PullRequest) -> None:
    code, output = await pull_request.run(1, *SENTENCES)
    assert code == 1, output
    expected = {name: (TITLES[name], sentence) for name, sentence in SENTENCES.items()}
    assert listed(output, "  ", quoted=False) == expected
    assert output.count("blocked: run github-1:shop (failed)") == 1
    assert "new failures: 2, at most 0 allowed (max_new_failures)" in output
    annotations = re.findall(
        r"^::(error|warning) title=shop > (\w+)::expected 200 got 503\. (.+?)\. http", output, re.M
    )
    assert {name: (level, sentence) for level, name, sentence in annotations} == {
        name: ("error" if title.startswith("New") else "warning", sentence)
        for name, (title, sentence) in expected.items()
    }
    (comment,) = pull_request.host.texts
    assert "### `shop`: 2 new failures" in comment
    assert listed(comment, r"- \[`", quoted=True) == {
        name: (title, sentence[0].upper() + sentence[1:]) for name, (title, sentence) in expected.items()
    }

    # The regressions are repaired. The other failures don't block, and the comment is updated.
    code, output = await pull_request.run(2, "flaky", "broken")
    assert code == 0, output
    excused = {
        "flaky": ("Failures of flaky cases: 1", SENTENCES["flaky"]),
        "broken": ("Known failures: 1", SENTENCES["broken"]),
    }
    assert listed(output, "  ", quoted=False) == excused
    assert "passed: only failures of flaky cases (1), known failures (1) in run github-2:shop" in output
    (comment,) = pull_request.host.texts
    assert "### `shop`: no new failures" in comment


@pytest.mark.parametrize("name", ["repaired", "young"])
async def test_one_regression_blocks(pull_request: PullRequest, name: str) -> None:
    """Rules that count the bad results of the newest 20 runs excuse the failure of the repaired test."""
    code, output = await pull_request.run(1, name)
    assert code == 1, output
    assert listed(output, "  ", quoted=False) == {name: ("New failures: 1", SENTENCES[name])}
