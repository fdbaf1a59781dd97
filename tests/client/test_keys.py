"""Commands need a key or an ID token, except in the jobs of a pull request from a fork."""

import pytest
from click.testing import CliRunner, Result

from service.client.__main__ import client
from service.client.ci import SYSTEMS

FORK = {"CIRCLECI": "true", "CIRCLE_PR_REPONAME": "shop"}
SERVER = {"RESULTS_URL": "http://127.0.0.1:9"}
COMMANDS = [("report", "a.xml"), ("gate",), ("comment",)]
EMPTY = "is empty. Check that the CI system passes the secret to this job"


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SYSTEMS, "RESULTS_API_KEY", "RESULTS_URL", "RESULTS_PROJECT", "RESULTS_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(client, arguments, env=variables)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("key", [{}, {"RESULTS_API_KEY": ""}], ids=["unset", "empty"])
@pytest.mark.parametrize("server", [{}, SERVER], ids=["without", "with"])
def test_job_of_a_fork_without_a_key_is_skipped(
    command: tuple[str, ...], key: dict[str, str], server: dict[str, str]
) -> None:
    result = run(*command, **FORK, **key, **server)
    assert (result.exit_code, result.stdout) == (0, "")  # stdout can contain data, such as JSON
    hint = ". A project can accept them with `report --untrusted`" if command[0] == "report" else ""
    skipped = "skipped, because the jobs of a pull request from a fork have no API key"
    assert result.stderr == f"{command[0]}: {skipped}{hint}\n"


def test_job_of_a_fork_with_an_empty_option_is_skipped() -> None:
    assert run("gate", "--key", "", **FORK).exit_code == 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_job_of_a_fork_with_a_key_is_executed(command: tuple[str, ...]) -> None:
    assert run(*command, **FORK, RESULTS_API_KEY="zof_1").exit_code != 0  # RESULTS_URL isn't set


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(("report", "a.xml"), 2), (("gate",), 3), (("comment",), 2), (("export", "-o", "-"), 2), (("tail",), 2)],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_empty_key_is_an_error_that_says_so(arguments: tuple[str, ...], exit_code: int) -> None:
    for variables in ({}, {"CIRCLECI": "true"}):
        result = run(*arguments, **SERVER, **variables, RESULTS_API_KEY="")
        assert (result.exit_code, f"Error: RESULTS_API_KEY: {EMPTY}" in result.stderr) == (exit_code, True)
    assert f"Error: --key: {EMPTY}" in run(*arguments, "--key", "", **SERVER).stderr


def test_export_in_a_job_of_a_fork_is_not_skipped() -> None:
    result = run("export", "-o", "-", **SERVER, **FORK)
    assert (result.exit_code, "Missing option '--key'" in result.stderr) == (2, True)


def test_missing_key_names_the_option_and_the_variable() -> None:
    assert "Error: Missing option '--key' (env var: 'RESULTS_API_KEY')" in run("gate", **SERVER).stderr
    assert "[env var: RESULTS_API_KEY]" in run("gate", "--help").stdout


@pytest.mark.parametrize(
    ("marker", "way"),
    [
        ("GITHUB_ACTIONS", "give the job `permissions: id-token: write`"),
        ("GITLAB_CI", "declare `id_tokens` with the variable RESULTS_ID_TOKEN, whose `aud` is the URL of the server"),
        ("JENKINS_URL", "set RESULTS_ID_TOKEN to an ID token of the job"),
    ],
)
def test_missing_key_names_the_way_without_a_secret(marker: str, way: str) -> None:
    result = run("gate", **SERVER, **{marker: "true"})
    assert result.exit_code == 3
    assert (
        f"(env var: 'RESULTS_API_KEY'). Set it, or let a trusted publisher accept this CI job and {way}\n"
        in result.stderr
    )


def test_empty_key_is_an_error_although_the_job_has_an_id_token() -> None:
    result = run("gate", **SERVER, RESULTS_API_KEY="", RESULTS_ID_TOKEN="token")
    assert (result.exit_code, EMPTY in result.stderr) == (3, True)
