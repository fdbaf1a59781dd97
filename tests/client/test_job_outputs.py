"""Later steps and jobs of each CI system can read the outputs of a command."""

import stat
from pathlib import Path

import pytest

from service.client.job_outputs import write_outputs

VALUES = {"run_id": "github-812:shop", "complete": True, "failures": 3, "pipeline": None, "title": "it's\n100%"}
LINES = (
    "RESULTS_OUTPUT_RUN_ID=github-812:shop\nRESULTS_OUTPUT_COMPLETE=true\nRESULTS_OUTPUT_FAILURES=3\n"
    "RESULTS_OUTPUT_TITLE=it's 100%\n"
)


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_OUTPUT", "RESULTS_OUTPUT_FILE", "CIRCLECI", "TF_BUILD", "BUILDKITE", "BITBUCKET_BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


def test_outputs_of_a_github_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "output"
    path.write_text("earlier=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(path))
    write_outputs(VALUES)
    assert path.read_text() == "earlier=1\nrun_id=github-812:shop\ncomplete=true\nfailures=3\ntitle=it's 100%\n"


@pytest.mark.parametrize(
    ("variable", "marker"),
    [("RESULTS_OUTPUT_FILE", None), ("BITBUCKET_PIPELINES_VARIABLES_PATH", "BITBUCKET_BUILD_NUMBER")],
)
def test_outputs_in_a_file_of_variables(
    variable: str, marker: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "variables"
    monkeypatch.setenv(variable, str(path))
    if marker:
        monkeypatch.setenv(marker, "5")
    write_outputs(VALUES)
    assert path.read_text() == LINES


def test_outputs_of_circleci_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bash_env"
    monkeypatch.setenv("BASH_ENV", str(path))
    write_outputs(VALUES)
    assert not path.exists()  # a file of the user outside of CircleCI
    monkeypatch.setenv("CIRCLECI", "true")
    write_outputs({"title": "it's $HOME"})
    assert path.read_text() == """export RESULTS_OUTPUT_TITLE='it'"'"'s $HOME'\n"""


def test_outputs_of_azure_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TF_BUILD", "True")
    write_outputs({"run_id": "azure-8:shop", "title": "100%\n##vso[task.complete result=Succeeded]"})
    assert capsys.readouterr().out == (
        "##vso[task.setvariable variable=run_id;isOutput=true]azure-8:shop\n"
        "##vso[task.setvariable variable=title;isOutput=true]100%AZP25 ##vso[task.complete result=Succeeded]\n"
    )
    write_outputs(VALUES, prints=False)
    assert capsys.readouterr().out == ""


def agent(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "buildkite-agent"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BUILDKITE", "true")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_outputs_of_buildkite_are_meta_data_of_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent(tmp_path, f'[ -n "$4" ] && echo "$@" >> {tmp_path}/calls', monkeypatch)  # the agent rejects empty values
    write_outputs({"blocked_projects": "", "run_id": "buildkite-b:shop", "project": "shop"})
    write_outputs({"decision": "passed"})
    assert (tmp_path / "calls").read_text().splitlines() == [
        "meta-data set results:shop:run_id buildkite-b:shop", "meta-data set results:shop:project shop",
        "meta-data set results:decision passed",
    ]  # fmt: skip


def test_outputs_that_cannot_be_written_cause_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent(tmp_path, "exit 1", monkeypatch)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "no" / "folder"))
    write_outputs(VALUES)
    warnings = capsys.readouterr().err.splitlines()
    assert [warning.partition(":")[0] for warning in warnings] == ["warning"] * 2
    assert "GITHUB_OUTPUT can't be written" in warnings[0]
    assert "the meta-data of the build can't be set" in warnings[1]


def test_long_values_are_only_outputs_of_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("RESULTS_OUTPUT_FILE", str(tmp_path / "variables"))
    write_outputs({"json": "x" * 1_001, "decision": "passed"})
    assert (tmp_path / "output").read_text() == f"json={'x' * 1_001}\ndecision=passed\n"
    assert (tmp_path / "variables").read_text() == "RESULTS_OUTPUT_DECISION=passed\n"
