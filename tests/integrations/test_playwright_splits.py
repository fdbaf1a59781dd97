"""The option `split` of the reporter of Playwright: each job executes its part, or nothing. No test needs a browser."""

import os
from pathlib import Path
from typing import Any

import pytest

from service.splits.model import select_by_name
from tests.integrations.node_tools import NodeTool, Session, install
from tests.runner.splitting_clients import SplittingClient, part_of

pytestmark = pytest.mark.nightly

FILES = [f"e2e/{letter}.spec.js" for letter in "abcdef"]
TESTS = {
    name: f"""const {{ test }} = require("@playwright/test");
test("first of {name[4]}", () => {{}});
test.describe("cart", () => {{ test("second of {name[4]}", () => {{}}); }});
"""
    for name in FILES
}
CONFIG = """\
module.exports = {
  testDir: ".",
  reporter: [["list"], ["@zof-results/playwright", %s]],
  %s
};
"""
PROJECTS = """projects: [
  {name: "up", testMatch: "up.js"},
  {name: "one", testMatch: "e2e/*", dependencies: ["up"]},
  {name: "two", testMatch: "e2e/*", dependencies: ["up"]},
],"""
UP = {"up.js": 'require("@playwright/test").test("starts", () => {});\n'}


@pytest.fixture(scope="module")
def playwright(tmp_path_factory: pytest.TempPathFactory) -> NodeTool:
    return install(tmp_path_factory.mktemp("playwright") / "tool", "@playwright/test@1.65.1")


def names_in(files: list[str]) -> set[str]:
    return {name for file in files for name in (f"first of {file[4]}", f"second of {file[4]}")}


def split(
    playwright: NodeTool, folder: Path, options: str, *arguments: str, config: str = "",
    files: dict[str, str] = TESTS, **client: Any,
) -> tuple[Session, list[Any]]:  # fmt: skip
    """Run Playwright with a client, and return the session and the requests to the client."""
    folder.mkdir(exist_ok=True)
    started = SplittingClient(folder / "client", **client)
    written = {"playwright.config.js": CONFIG % (options, config), **files}
    variables = started.variables()
    session = playwright.execute(folder / "project", written, "playwright", "test", *arguments, **variables)
    return session, started.requests


def names_of(session: Session) -> set[str]:
    return {result["name"] for result in session.results}


def test_parts_are_all_tests(playwright: NodeTool, tmp_path: Path) -> None:
    executed = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        session, [request] = split(playwright, folder, f'{{split: "{number}/2", splitKey: "e2e"}}')
        session.assert_only_failed_tests(0, code=0)
        assert request["items"] == FILES
        assert request["options"] == {"index": str(number), "total": "2", "key": "e2e", "unit": "file"}
        assert request["folder"] == str(folder / "project")
        assert names_of(session) == names_in(part_of(FILES, number))
        executed += [result["name"] for result in session.results]
    assert sorted(executed) == sorted(names_in(FILES))


def test_split_replaces_shards(playwright: NodeTool, tmp_path: Path) -> None:
    session, _ = split(playwright, tmp_path, '{split: "1/2"}', "--shard=2/2")
    assert (session.code, names_of(session)) == (0, names_in(part_of(FILES, 1)))


def test_cases_of_the_part_of_the_ci_job(playwright: NodeTool, tmp_path: Path) -> None:
    session, [request] = split(playwright, tmp_path, '{split: "auto", splitUnit: "case"}')
    items = [
        item for file in FILES for item in (f"{file} > first of {file[4]}", f"{file} > cart > second of {file[4]}")
    ]
    assert (sorted(request["items"]), request["options"]) == (sorted(items), {"unit": "case"})
    assert names_of(session) == {item.rpartition(" > ")[2] for item in part_of(items, 1)}


def test_setup_is_executed_in_each_part_with_tests(playwright: NodeTool, tmp_path: Path) -> None:
    files = {**TESTS, **UP}
    session, [request] = split(playwright, tmp_path, '{split: "1/2"}', config=PROJECTS, files=files)
    assert (session.code, sorted(request["items"])) == (0, FILES)
    part = part_of(FILES, 1)
    assert names_of(session) == {"starts", *names_in(part)}
    assert len(session.results) == 1 + 2 * len(names_in(part))  # in two projects


@pytest.mark.parametrize("config", ["", PROJECTS])
def test_empty_part_passes(playwright: NodeTool, tmp_path: Path, config: str) -> None:
    files = {FILES[0]: TESTS[FILES[0]], **(UP if config else {})}
    [empty] = (number for number in (1, 2) if not select_by_name(FILES[:1], 2, number))
    session, _ = split(playwright, tmp_path, f'{{split: "{empty}/2"}}', config=config, files=files)
    assert (session.code, session.results) == (0, []), session.output


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ({"code": 3, "message": "the plan lacks 'f'"}, "split: exit code 3 of the client: the plan lacks 'f'"),
        ({"printed": "e2e/x.spec.js\n"}, "split: exit code 0 of the client: unknown items e2e/x.spec.js"),
    ],
)
def test_nothing_is_executed_if_the_client_fails(
    playwright: NodeTool, tmp_path: Path, client: dict[str, Any], text: str
) -> None:
    session, _ = split(playwright, tmp_path, '{split: "1/2"}', **client)
    assert (session.code, session.results) == (1, [])
    assert text in session.output


def test_nothing_is_executed_without_the_client(playwright: NodeTool, tmp_path: Path) -> None:
    files = {"playwright.config.js": CONFIG % ('{split: "1/2"}', ""), **TESTS}
    path = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "zof-results").exists()
    )
    session = playwright.execute(tmp_path / "project", files, "playwright", "test", PATH=path)
    assert (session.code, session.results) == (1, [])
    assert "Install zof-results, or start Playwright with zof-results run." in session.output


def test_no_tests_of_all_parts_fail(playwright: NodeTool, tmp_path: Path) -> None:
    session, _ = split(playwright, tmp_path, '{split: "1/2"}', "--shard=1/2", "nothing")
    assert session.code == 1
    assert "split: exit code 1 of the client: stdin: must contain at least one item" in session.output


def test_serial_groups_are_not_split_by_case(playwright: NodeTool, tmp_path: Path) -> None:
    serial = TESTS[FILES[0]].replace("test.describe(", "test.describe.serial(")
    options = '{split: "1/1", splitUnit: "case"}'
    session, requests = split(playwright, tmp_path, options, files={FILES[0]: serial})
    assert (session.code, requests) == (1, [])
    assert f"the tests of a serial group in {FILES[0]} belong together" in session.output


def test_text_of_the_client_is_shown(playwright: NodeTool, tmp_path: Path) -> None:
    session, _ = split(playwright, tmp_path, '{split: "1/2"}', message="no server: split by name\n")
    assert (session.code, session.output.count("no server: split by name")) == (0, 1)


def test_older_version_executes_nothing(tmp_path: Path) -> None:
    older = install(tmp_path / "tool", "@playwright/test@1.52.0")
    session, requests = split(older, tmp_path / "older", '{split: "1/2"}')
    assert (session.code, session.results, requests) == (1, [], [])
    assert "split: needs Playwright 1.62 or newer, not 1.52.0, which would execute all tests." in session.output
