"""Nightly tests of the reporter of Jest with the oldest and the newest supported version."""

import shutil
from pathlib import Path

import pytest

from tests.integrations.node_tools import NodeTool, install

pytestmark = pytest.mark.nightly

FAILING = "test('fails', () => { expect(1).toBe(2); });\n"
PASSING = "test('passes', () => {});\n"
THROWING = "module.exports = () => { throw new Error('no'); };\n"
CONFIG = """\
module.exports = {
  reporters: ["default", "@zof-results/jest"],
  testEnvironment: "node",
%s};
"""


@pytest.fixture(scope="module", params=["jest@28.0.0", "jest@30"])
def jest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NodeTool:
    return install(tmp_path_factory.mktemp("jest") / "tool", request.param)


@pytest.mark.parametrize("forces_exit", [True, False])
def test_failed_tests_are_the_only_cause(jest: NodeTool, tmp_path: Path, forces_exit: bool) -> None:
    tests = """\
test("is flaky", () => { global.count = (global.count || 0) + 1; expect(global.count).toBe(2); });
test("differs", () => { expect("new").toMatchInlineSnapshot(`"old"`); });
test.each([1, 1])("is repeated", () => { throw new Error("again"); });
describe("group", () => {
  test("fails", () => { throw new Error("no"); });
  test.skip("skipped", () => {});
  test.todo("later");
});
jest.retryTimes(1);
"""
    files = {
        "jest.config.js": CONFIG % f'globalTeardown: "./down.js", forceExit: {str(forces_exit).lower()},',
        "down.js": "module.exports = async () => {};\n",
        "a.test.js": tests,
        "b.test.js": f"beforeAll(() => {{}});{FAILING}",
    }
    session = jest.execute(tmp_path / "project", files, "jest", "--ci")
    session.assert_only_failed_tests(4)


def test_session_without_failures_has_no_problems(jest: NodeTool, tmp_path: Path) -> None:
    files = {"jest.config.js": CONFIG % "", "a.test.js": PASSING}
    jest.execute(tmp_path / "project", files, "jest").assert_only_failed_tests(0, code=0)


def test_exit_code_can_be_configured(jest: NodeTool, tmp_path: Path) -> None:
    files = {"jest.config.js": CONFIG % "testFailureExitCode: 7,", "a.test.js": FAILING}
    jest.execute(tmp_path / "project", files, "jest").assert_only_failed_tests(1, code=7)


@pytest.mark.parametrize(
    ("problem", "config", "files", "arguments"),
    [
        ("b.test.js: Cannot find module", "", {"b.test.js": "require('./missing');"}, []),
        ("b.test.js", "", {"b.test.js": f"afterAll(() => {{ throw new Error('after'); }});{PASSING}"}, []),
        ("b.test.js: a hook failed", "", {"b.test.js": f"beforeAll(() => {{ throw Error('no'); }});{PASSING}"}, []),
        ("b.test.js: a hook failed", "", {"b.test.js": f"beforeAll(() => new Promise(() => 0), 50);{PASSING}"}, []),
        ("b.test.js: a hook failed", "", {"b.test.js": f"beforeAll(() => {{ throw 1; }});{PASSING}"}, []),
        ("b.test.js: a hook failed", "", {"b.test.js": f"beforeAll(() => Promise.reject(Error('no')));{PASSING}"}, []),
        ("b.test.js: Your test suite must contain", "", {"b.test.js": ""}, []),
        ("b.test.js", "", {"b.test.js": "test('ends', () => { process.exit(1); });"}, ["--maxWorkers=2"]),
        ("coverageThreshold", "coverageThreshold: {global: {lines: 1}},", {}, ["--coverage"]),
        ("Jest ended early", 'globalTeardown: "./down.js",', {"down.js": THROWING}, []),
        ("Jest ended early", 'globalTeardown: "./down.js",', {"down.js": THROWING}, ["--forceExit"]),
        ("reporter ", "", {"other.js": "module.exports = class { getLastError() { return new Error('no'); } };"},
         ["--reporters=@zof-results/jest", "--reporters=./other.js"]),
        ("Jest ended early",
         'reporters: [["@zof-results/jest", {trustedReporters: ["other.js"]}], "<rootDir>/other.js"],',
         {"other.js": "module.exports = class { onRunComplete() { throw new Error('no'); } };"}, []),
        ("bail: ended the run", "", {}, ["--bail"]),
        ("exit code 3: was set", 'globalSetup: "./up.js",',
         {"up.js": "module.exports = () => { process.exitCode = 3; };"}, []),
        ("testResultsProcessor", 'testResultsProcessor: "./process.js",',
         {"process.js": "module.exports = (results) => results;"}, []),
        ("shard: is unknown", "", {}, ["--shard=1/1"]),
        ("uncaught exception: late", 'globalTeardown: "./down.js",', {
            "down.js": "module.exports = () => { setTimeout(() => { throw new Error('late'); }, 300); };",
        }, []),
    ],
)  # fmt: skip
def test_other_cause_is_a_problem(
    jest: NodeTool, tmp_path: Path, problem: str, config: str, files: dict[str, str], arguments: list[str]
) -> None:
    written = {"jest.config.js": CONFIG % config, "a.test.js": FAILING, **files}
    jest.execute(tmp_path / "project", written, "jest", *arguments).assert_problem(problem)


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        ({"a.test.js": FAILING}, ["nothing"]),
        ({"a.test.js": FAILING, "jest.config.js": CONFIG % 'globalSetup: "./up.js",', "up.js": THROWING}, []),
        ({"a.test.js": "test('ends', () => { process.kill(process.pid, 'SIGTERM'); });"}, ["--runInBand"]),
    ],
)  # fmt: skip
def test_evidence_of_an_incomplete_session_is_not_finished(
    jest: NodeTool, tmp_path: Path, files: dict[str, str], arguments: list[str]
) -> None:
    written = {"jest.config.js": CONFIG % "", **files}
    jest.execute(tmp_path / "project", written, "jest", *arguments).assert_problem("")


def test_obsolete_snapshot_is_a_problem(jest: NodeTool, tmp_path: Path) -> None:
    snapshot = "test('%s', () => { expect(1).toMatchSnapshot(); });\n"
    files = {"jest.config.js": CONFIG % "", "a.test.js": snapshot % "kept" + snapshot % "removed"}
    jest.execute(tmp_path / "project", files, "jest", "--ci=false").assert_only_failed_tests(0, code=0)
    shutil.rmtree(tmp_path / "project" / "spool")
    changed = {"a.test.js": FAILING + snapshot % "kept"}
    jest.execute(tmp_path / "project", changed, "jest", "--ci").assert_problem("snapshots: some are obsolete")
