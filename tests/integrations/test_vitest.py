"""Nightly tests of the reporter of Vitest with the oldest and the newest version that Node.js 20 executes."""

from pathlib import Path

import pytest

from tests.integrations.node_tools import NodeTool, Session, install

pytestmark = pytest.mark.nightly

IMPORT = 'import { afterAll, beforeAll, bench, describe, expect, test } from "vitest";\n'
FAILING = IMPORT + "test('fails', () => { expect(1).toBe(2); });\n"
PASSING = IMPORT + "test('passes', () => {});\n"
CONFIG = 'export default { test: { reporters: ["default", "@zof-results/vitest"], %s } };\n'
REJECTION = IMPORT + "test('rejects', () => { Promise.reject(new Error('late')); });\n"
KILLED = IMPORT + "test('is killed', () => { process.kill(process.pid, 'SIGKILL'); });\n"
AFTER = """\
test('passes', () => {});
describe('group', () => {
  test('passes', () => {});
  afterAll(() => { throw new Error('after'); });
});
"""
TEARDOWN = "export default () => () => { throw new Error('no'); };\n"


@pytest.fixture(scope="module", params=["1.0.0", "4.1.12"])
def vitest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NodeTool:
    packages = (f"vitest@{request.param}", f"@vitest/coverage-v8@{request.param}")
    return install(tmp_path_factory.mktemp("vitest") / "tool", *packages)


def execute(vitest: NodeTool, folder: Path, config: str, files: dict[str, str], *arguments: str) -> Session:
    written = {"vitest.config.mjs": CONFIG % config, "a.test.js": FAILING, **files}
    return vitest.execute(folder / "project", written, "vitest", *(arguments or ["run"]))


def test_failed_tests_are_the_only_cause(vitest: NodeTool, tmp_path: Path) -> None:
    tests = f"""{IMPORT}
test("differs", () => {{ expect("new").toMatchInlineSnapshot(`"old"`); }});
test.fails("fails as expected", () => {{ expect(1).toBe(2); }});
test.fails("passes unexpectedly", () => {{}});
test.each([1, 1])("is repeated", () => {{ throw new Error("again"); }});
describe("group", () => {{
  test("fails", () => {{ throw new Error("no"); }});
  test.skip("skipped", () => {{}});
  test.todo("later");
}});
"""
    files = {"b.test.js": tests, "up.js": "export default () => {};\n"}
    execute(vitest, tmp_path, 'globalSetup: "./up.js"', files).assert_only_failed_tests(5)


def test_session_without_failures_has_no_problems(vitest: NodeTool, tmp_path: Path) -> None:
    execute(vitest, tmp_path, "retry: 1", {"a.test.js": PASSING}).assert_only_failed_tests(0, code=0)


def test_retried_test_and_ignored_errors_are_no_cause(vitest: NodeTool, tmp_path: Path) -> None:
    flaky = f"{IMPORT}let count = 0;\ntest('is flaky', () => {{ count += 1; expect(count).toBe(2); }});\n"
    config = "retry: 1, dangerouslyIgnoreUnhandledErrors: true"
    execute(vitest, tmp_path, config, {"b.test.js": flaky, "c.test.js": REJECTION}).assert_only_failed_tests(1)


@pytest.mark.parametrize(
    ("problem", "config", "files", "arguments"),
    [
        ("missing.js", "", {"b.test.js": "import './missing.js';"}, []),
        ("b.test.js: before", "", {"b.test.js": f"{PASSING}beforeAll(() => {{ throw new Error('before'); }});"}, []),
        ("b.test.js > group: after", "", {"b.test.js": IMPORT + AFTER}, []),
        ("b.test.js: No test", "", {"b.test.js": ""}, []),
        ("unhandled error: late", "", {"b.test.js": REJECTION}, []),
        ("unhandled error: ", "pool: 'forks'", {"b.test.js": KILLED}, []),
        ("coverage: ", "coverage: { enabled: true, thresholds: { lines: 100 } }", {}, []),
        ("coverage: ", "coverage: { enabled: true, reportOnFailure: true }", {}, []),
        ("typecheck: ", "typecheck: { enabled: true, checker: 'true' }", {}, []),
        ("bail: ended the run", "bail: 1", {}, []),
        ("shard: is unknown", "", {"b.test.js": FAILING}, ["run", "--shard=1/2"]),
    ],
)  # fmt: skip
def test_other_cause_is_a_problem(
    vitest: NodeTool, tmp_path: Path, problem: str, config: str, files: dict[str, str], arguments: list[str]
) -> None:
    execute(vitest, tmp_path, config, files, *arguments).assert_problem(problem)


def test_failed_teardown_is_a_problem_if_it_can_be_the_cause(vitest: NodeTool, tmp_path: Path) -> None:
    session = execute(vitest, tmp_path, 'globalSetup: "./up.js"', {"up.js": TEARDOWN})
    if session.evidence["version"].startswith("4."):  # which only prints the error
        session.assert_only_failed_tests(1)
        files = {"up.js": TEARDOWN, "a.test.js": PASSING}
        assert execute(vitest, tmp_path / "passing", 'globalSetup: "./up.js"', files).code == 0
    else:
        session.assert_problem("globalSetup: its teardown")


def test_rejection_in_the_main_process_is_a_problem(vitest: NodeTool, tmp_path: Path) -> None:
    end = "() { Promise.reject(new Error('late')); }"
    other = f"export default class {{ onFinished{end} onTestRunEnd{end} }};\n"
    config = 'reporters: ["@zof-results/vitest", "./other.mjs"]'
    session = execute(vitest, tmp_path, config, {"other.mjs": other})
    session.assert_problem("Vitest ended early")


@pytest.mark.parametrize("arguments", [["run", "nothing"], ["run"]])
def test_evidence_shows_that_no_test_was_executed(vitest: NodeTool, tmp_path: Path, arguments: list[str]) -> None:
    files = {} if len(arguments) > 1 else {"up.js": "export default () => { throw new Error('no'); };\n"}
    session = execute(vitest, tmp_path, 'globalSetup: "./up.js"' if files else "", files, *arguments)
    assert session.code == 1
    assert not session.evidence.get("finished") or session.problems, session.output


def test_benchmarks_are_no_tests(vitest: NodeTool, tmp_path: Path) -> None:
    files = {"b.bench.js": f"{IMPORT}bench('x', () => {{}}, {{ time: 1 }});"}
    session = execute(vitest, tmp_path, 'benchmark: { reporters: ["@zof-results/vitest"] }', files, "bench", "--run")
    assert "benchmark mode" in session.problems
