"""The option --zof-split of the plugin of pytest: each job executes its part, or nothing."""

from pathlib import Path
from typing import Any

import pytest

from service.splits.model import select_by_name
from tests.runner.pytest_sessions import COMMAND, Session, run_session
from tests.runner.splitting_clients import SplittingClient, part_of

FILES = [f"test_{letter}.py" for letter in "abcdef"]
TESTS = {name: f"def test_of_{name[5]}(): pass\ndef test_more_of_{name[5]}(): pass\n" for name in FILES}
WORKERS = [pytest.param((), id="alone"), pytest.param(("-n2",), marks=pytest.mark.nightly)]

pytestmark = pytest.mark.slow


def names_in(files: list[str]) -> set[str]:
    return {name for file in files for name in (f"test_of_{file[5]}", f"test_more_of_{file[5]}")}


def split(folder: Path, *arguments: str, tests: dict[str, str] = TESTS, **client: Any) -> tuple[Session, list[Any]]:
    """Run pytest with a client, and return the session and the requests to the client."""
    started = SplittingClient(folder / "client", **client)
    folder.mkdir(exist_ok=True)
    return run_session(folder, tests, *arguments, **started.variables()), started.requests


@pytest.mark.parametrize("workers", WORKERS)
def test_parts_are_all_tests(tmp_path: Path, workers: tuple[str, ...]) -> None:
    executed = []
    for number in (1, 2):
        session, requests = split(tmp_path / str(number), f"--zof-split={number}/2", *workers)
        assert (session.code, session.evidence["problems"]) == (0, []), session.output
        assert set(session.results) == names_in(part_of(FILES, number))
        if not workers:
            assert f"{12 - len(session.results)} deselected" in session.output
        for request in requests:
            assert request["items"] == FILES
            assert request["options"] == {"index": str(number), "total": "2", "unit": "file"}
            assert request["folder"] == str(tmp_path / str(number) / "project")
        executed += [*session.results]
    assert sorted(executed) == sorted(names_in(FILES))


def test_options_are_those_of_the_client(tmp_path: Path) -> None:
    options = ("--zof-split-key=unit", "--zof-split-project=shop", "--zof-split-unit=case")
    session, [request] = split(tmp_path, "--zof-split=auto", *options)

    cases = [f"pytest > {file[:-3]} > {name}" for file in FILES for name in TESTS[file].split() if "()" in name]
    assert request["items"] == sorted(case.removesuffix("():") for case in cases)
    assert request["options"] == {"unit": "case", "key": "unit", "project": "shop"}
    assert set(session.results) == {case.rpartition(" > ")[2] for case in part_of(request["items"], 1)}


def test_other_options_select_the_items(tmp_path: Path) -> None:
    session, [request] = split(tmp_path, "--zof-split=1/1", "-k", "of_a or of_b", "test_a.py", "test_c.py")
    assert (request["items"], set(session.results)) == (["test_a.py"], names_in(["test_a.py"]))


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    ("client", "text"),
    [
        ({"code": 3, "message": "the plan lacks 'test_f.py'"}, "exit code 3 of the client: the plan lacks 'test_f.py'"),
        ({"code": 1}, "exit code 1 of the client: "),
        ({"printed": "test_x.py\n"}, "unknown items ['test_x.py']"),
    ],
)
def test_nothing_is_executed_if_the_client_fails(
    tmp_path: Path, workers: tuple[str, ...], client: dict[str, Any], text: str
) -> None:
    session, _ = split(tmp_path, "--zof-split=1/2", *workers, **client)
    assert text in session.output
    assert (session.code != 0, session.results) == (True, {}), session.output
    assert not session.evidence["finished"] or session.evidence["problems"]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("command", ['["zof-results-is-missing"]', "no JSON"])
def test_nothing_is_executed_without_the_client(tmp_path: Path, workers: tuple[str, ...], command: str) -> None:
    session = run_session(tmp_path, TESTS, "--zof-split=1/2", *workers, RESULTS_CLIENT=command)
    assert "Install zof-results, or start pytest with `zof-results run`." in session.output
    assert (session.code != 0, session.results) == (True, {}), session.output


@pytest.mark.parametrize(
    ("value", "options"),
    [
        ("auto", {}),
        ("", {}),
        ("2", {"index": "2"}),
        ("a/b/c", {"index": "a", "total": "b/c"}),
        ("-1/", {"index": "-1"}),
    ],
)
def test_client_checks_the_part(tmp_path: Path, value: str, options: dict[str, str]) -> None:
    session, [request] = split(tmp_path, f"--zof-split={value}", code=2, message="Usage")
    assert (session.code, request["options"]) == (4, {"unit": "file", **options})


@pytest.mark.parametrize("workers", WORKERS)
def test_empty_part_passes(tmp_path: Path, workers: tuple[str, ...]) -> None:
    tests = {"test_a.py": TESTS["test_a.py"]}
    [empty] = (number for number in (1, 2) if not select_by_name(tests, 2, number))
    session, _ = split(tmp_path, f"--zof-split={empty}/2", *workers, tests=tests)

    assert session.code == 0, session.output
    assert (session.evidence["exit_code"], session.evidence["problems"]) == (0, [])
    assert session.results == {}


def test_no_tests_of_all_parts_fail(tmp_path: Path) -> None:
    session, requests = split(tmp_path, "--zof-split=1/2", "-k", "nothing")
    assert (session.code, requests) == (5, [])


@pytest.mark.parametrize("unit", ["file", "case"])
def test_module_that_can_not_be_collected_is_an_item(tmp_path: Path, unit: str) -> None:
    tests = {**TESTS, "test_broken.py": "import missing\n"}
    arguments = ("--zof-split=1/2", f"--zof-split-unit={unit}", "--continue-on-collection-errors")
    session, [request] = split(tmp_path, *arguments, tests=tests)

    assert {"file": "test_broken.py", "case": "pytest > test_broken"}[unit] in request["items"]
    assert session.code == 1
    assert session.statuses["test_broken"] == "error"


@pytest.mark.parametrize("workers", WORKERS)
def test_text_of_the_client_is_shown_once(tmp_path: Path, workers: tuple[str, ...]) -> None:
    session, _ = split(tmp_path, "--zof-split=1/2", *workers, message="no server: split by name\n")
    assert (session.code, session.output.count("no server: split by name")) == (0, 1)


def test_failed_test_of_a_part_is_the_only_cause(tmp_path: Path) -> None:
    tests = {name: text.replace("pass", "assert 0") for name, text in TESTS.items()}
    session, _ = split(tmp_path, "--zof-split=1/2", tests=tests)
    expected = {"finished": True, "exit_code": 1, "failed_tests": 2 * len(part_of(FILES, 1)), "problems": []}
    assert {name: session.evidence[name] for name in expected} == expected


def test_options_without_run(tmp_path: Path) -> None:
    client = SplittingClient(tmp_path / "client")
    variables = {**client.variables(), "RESULTS_SPOOL_FOLDER": ""}
    session = run_session(tmp_path, TESTS, "--zof-split=1/2", "-v", command=COMMAND, **variables)
    assert (session.code, session.evidence) == (0, None)
    assert session.output.count("PASSED") == 2 * len(part_of(FILES, 1))
