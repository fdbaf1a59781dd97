"""The conditions that the client checks: doubt never passes. The evidence is read from files, as tools write it."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.client.runner.conditions import Finished, find_doubts
from service.client.runner.evidence import read_evidence
from service.client.runner.execute import ExitOutcome
from service.client.runner.tools import find_tool

STATED = {
    "format": 1, "tool": "pytest", "version": "8", "finished": True, "exit_code": 1, "failed_tests": 2, "problems": []
}  # fmt: skip


def finished(
    folder: Path, *evidence: Any, code: int = 1, signal: int | None = None, tool: str | None = "pytest",
    stated: int | None = None,
) -> Finished:  # fmt: skip
    """Return an ended command. An item of `evidence` is text, or replaces fields of a complete document."""
    for number, each in enumerate(evidence):
        text = each if isinstance(each, str) else json.dumps({**STATED, **each})
        (folder / f"evidence-{number}.json").write_text(text)
    known = find_tool([], tool) if tool else None
    return Finished(ExitOutcome(code, signal), known, stated, read_evidence(folder))


@pytest.mark.parametrize(
    ("evidence", "ended", "failures"),
    [
        pytest.param([{}], {}, 2, id="evidence"),
        pytest.param([{}], {"tool": None, "stated": 1}, 2, id="evidence of a stated code"),
        pytest.param([{"tool": "jest"}], {"tool": "jest"}, 2, id="evidence of another tool"),
        pytest.param([], {"tool": "nextest", "code": 100}, None, id="documented code"),
        pytest.param([], {"tool": "robot", "code": 125}, 125, id="documented count"),
        pytest.param([], {"tool": "robot", "code": 7, "stated": 7}, None, id="stated code isn't a count"),
        pytest.param([], {"tool": None, "code": 7, "stated": 7}, None, id="stated code of an unknown tool"),
        pytest.param([], {"tool": "pytest", "stated": 1}, None, id="stated code of a known tool"),
    ],
)
def test_proven_cause(tmp_path: Path, evidence: list[Any], ended: dict[str, Any], failures: int | None) -> None:
    command = finished(tmp_path, *evidence, **ended)
    assert find_doubts(command) == []
    assert command.stated_failures == failures


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        ({"code": 137, "signal": 9}, "signal 9 ended the command"),
        ({"code": 127}, "the exit code 127 doesn't mean failed tests"),
        ({"code": 126, "tool": "robot"}, "the exit code 126 doesn't mean failed tests"),
        ({"code": 2}, "the exit code 2 of pytest doesn't mean failed tests (https://docs.pytest.org/en/stable/"),
        ({"code": 250, "tool": "robot"}, "the exit code 250 doesn't mean failed tests"),
        ({"code": 2, "stated": 1}, "the exit code 2 isn't 1, which --tests-failed-exit states"),
        ({"code": 99, "tool": "nextest"}, "the exit code 99 of cargo-nextest doesn't mean failed tests"),
    ],
)
def test_exit_code_that_does_not_mean_failed_tests(tmp_path: Path, ended: dict[str, Any], text: str) -> None:
    (doubt,) = find_doubts(finished(tmp_path, {"exit_code": ended["code"]}, **ended))
    assert doubt.condition == "exit_code"
    assert doubt.text.startswith(text)


@pytest.mark.parametrize(
    ("evidence", "ended", "text"),
    [
        ([], {}, "pytest gives no evidence from inside, and its exit code can have other causes: coverage below"),
        ([], {"tool": None}, "the tool isn't known from the command"),
        ([{}], {"tool": None}, "the tool isn't known from the command"),
        ([], {"tool": "go"}, "the exit code of go test -json can have other causes: packages that can't be built"),
        ([{"tool": "go"}], {"tool": "go"}, "the exit code of go test -json can have other causes"),
        ([{}], {"tool": "jest"}, "the command executes Jest, but the evidence is of pytest"),
        ([{}], {"tool": "robot"}, "the command executes Robot Framework, but the evidence is of pytest"),
        ([{}, {}], {}, "the command executed 2 sessions of tools, of which only one can explain its code"),
        ([{"finished": False}], {}, "the session of pytest didn't finish"),
        ([{"finished": 1}], {}, "the session of pytest didn't finish"),
        ([{"exit_code": 2}], {}, "pytest ended with 2, but the command with 1"),
        ([{"problems": ["coverage: 50 %"]}], {}, "coverage: 50 %"),
        ([{"problems": ["coverage: 50 %"]}], {"stated": 1}, "coverage: 50 %"),
        ([{"format": 2}], {}, "unknown format of the evidence: 2. Use plugins of one version"),
        (["{"], {}, "the evidence can't be read: JSONDecodeError("),
        ([""], {}, "the evidence can't be read: JSONDecodeError("),
        (["[]"], {}, "the evidence can't be read: TypeError("),
        ([{"exit_code": None}], {}, "the evidence can't be read: ValueError("),
        ([{"failed_tests": True}], {}, "the evidence can't be read: ValueError("),
        ([{"problems": "none"}], {}, "the evidence can't be read: ValueError("),
        (['{"format": 1}'], {}, "the evidence can't be read: KeyError("),
        ([{"problems": ["x" * 2**20]}], {}, "the evidence is too large"),
    ],
)
def test_code_with_a_second_cause(tmp_path: Path, evidence: list[Any], ended: dict[str, Any], text: str) -> None:
    (doubt,) = find_doubts(finished(tmp_path, *evidence, **ended))
    assert doubt.condition == "second_cause"
    assert doubt.text.startswith(text)


def test_all_problems_are_named(tmp_path: Path) -> None:
    problems = ["collection: tests/a.py", "coverage: 50 %"]
    command = finished(tmp_path, {"problems": problems, "exit_code": 2})
    assert [doubt.text for doubt in find_doubts(command)][1:] == problems
