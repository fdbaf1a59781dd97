"""Nightly tests of the reporter of Playwright with its oldest and newest supported version. They need no browser."""

from pathlib import Path
from typing import Any

import pytest

from tests.integrations.node_tools import NodeTool, Session, install
from tests.report_api import Reports, serving_reports_with_ingester

pytestmark = pytest.mark.nightly

IMPORT = 'const { expect, test } = require("@playwright/test");\n'
FAILING = IMPORT + "test('fails', () => { expect(1).toBe(2); });\n"
PASSING = IMPORT + "test('passes', () => {});\n"
TWO_TESTS = FAILING + PASSING.removeprefix(IMPORT)
FLAKY = IMPORT + "test('is flaky', ({}, info) => { expect(info.retry).toBe(1); });\n"
ENDLESS = IMPORT + "test('never ends', async () => { console.log('runs'); await new Promise(() => {}); });\n"
THROWING = "module.exports = () => { throw new Error('no'); };\n"
CONFIG = """\
module.exports = {
  reporter: [["line"], ["json", { outputFile: "report.json" }], ["@zof-results/playwright"]],
  workers: 1,
  %s
};
"""
ALL_KINDS = """\
const { expect, test } = require("@playwright/test");
const fs = require("fs");

test("passes @smoke @slow", { tag: "@api", annotation: { type: "issue", description: "SHOP-1" } }, () => {});
test("differs", () => { expect({ a: 1, b: [1, 2] }).toEqual({ a: 1, b: [1, 3] }); });
test("throws text", () => { throw "no object"; });
test("has a cause", () => { throw new Error("outer\\n\\nmore text", { cause: new Error("inner") }); });
test("reports several errors", () => { expect.soft(1).toBe(2); expect.soft("a").toBe("b"); });
test("takes too long", async () => { test.setTimeout(200); await new Promise(() => {}); });
test("is skipped", () => { test.skip(true, "later"); });
test.skip("is always skipped", () => {});
test.fixme("must be fixed", () => {});
test("fails as expected", () => { test.fail(); expect(1).toBe(2); });
test("passes unexpectedly", () => { test.fail(); });
test("is flaky", ({}, info) => { console.log("attempt", info.retry); expect(info.retry).toBe(1); });
test("writes files", async ({}, info) => {
  fs.writeFileSync(info.outputPath("cart.png"), "picture");
  await info.attach("screenshot", { path: info.outputPath("cart.png"), contentType: "image/png" });
  await info.attach("screenshot", { path: __filename, contentType: "text/plain" });
  await info.attach("notes", { body: "text", contentType: "text/plain" });
  info.annotations.push({ type: "owner", description: "web" }, { type: "owner", description: "api" }, { type: "x" });
  expect(info.retry).toBe(5);
});
test.describe("cart", () => {
  test.describe(() => { test("is in a group without a title", () => {}); });
  test("fails in a group", () => { throw new TypeError(`no ${String.fromCharCode(27)}[31mcolor`); });
});
test.describe.serial("payment", () => {
  test("is executed again", () => {});
  test("fails in each attempt", () => { throw new Error("no"); });
  test("isn't executed", () => {});
});
"""


OF_UPLOAD = ("id", "run_id", "run", "completed_at", "artifacts_url")  # fields of a result


@pytest.fixture(scope="module", params=["1.52.0", "1.65.1"])
def playwright(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NodeTool:
    return install(tmp_path_factory.mktemp("playwright") / "tool", f"@playwright/test@{request.param}")


def execute(
    playwright: NodeTool, folder: Path, config: str, files: dict[str, str], *arguments: str, **options: Any
) -> Session:
    written = {"playwright.config.js": CONFIG % config, **files}
    return playwright.execute(folder / "project", written, "playwright", "test", *arguments, **options)


def test_failed_tests_are_the_only_cause(playwright: NodeTool, tmp_path: Path) -> None:
    config = 'projects: [{name: "one"}, {name: "two"}], globalTeardown: "./down.js",'
    files = {
        "a.spec.js": FAILING + PASSING.removeprefix(IMPORT),
        "b.spec.js": PASSING,
        "down.js": "module.exports = () => {};\n",
    }
    execute(playwright, tmp_path, config, files, "--retries=1").assert_only_failed_tests(2)


def test_session_without_failures_has_no_problems(playwright: NodeTool, tmp_path: Path) -> None:
    execute(playwright, tmp_path, "", {"a.spec.js": PASSING}).assert_only_failed_tests(0, code=0)


def test_flaky_test_is_no_failure(playwright: NodeTool, tmp_path: Path) -> None:
    session = execute(playwright, tmp_path, "retries: 1,", {"a.spec.js": FLAKY, "b.spec.js": FAILING})
    if session.evidence["version"] == "1.52.0":  # which doesn't state failOnFlakyTests
        session.assert_problem("failOnFlakyTests: can be set")
    else:
        session.assert_only_failed_tests(1)


BEFORE = PASSING + "test.beforeAll(() => { throw new Error('no'); });\n"
AFTER = PASSING + "test.afterAll(() => { throw new Error('no'); });\n"
SETUP = '{name: "up", testMatch: "a.*"}'
DEPENDENT = '{name: "e2e", testMatch: "b.*", dependencies: ["up"]}'
WORKER = """\
const { test } = require("@playwright/test");
const teardown = async ({}, use) => { await use(1); throw new Error("no"); };
test.extend({ worker: [teardown, { scope: "worker" }] })("x", ({ worker }) => {});
"""


@pytest.mark.parametrize(
    ("problem", "config", "files", "arguments"),
    [
        ("error outside of a test: Error: no", "", {"b.spec.js": "throw new Error('no');"}, []),
        ("error outside of a test: Error: no", 'globalTeardown: "./down.js",', {"down.js": THROWING}, []),
        ("error outside of a test: Error: no", 'globalSetup: "./up.js",', {"up.js": THROWING}, []),
        ("a beforeAll or afterAll hook failed", "", {"b.spec.js": BEFORE}, []),
        ("a beforeAll or afterAll hook failed", "", {"b.spec.js": AFTER}, []),
        ("error outside of a test: ", "", {"b.spec.js": WORKER}, []),
        ("the worker crashed", "", {"b.spec.js": f"{IMPORT}test('x', () => {{ process.exit(1); }});"}, []),
        ("failOnFlakyTests", "retries: 1,", {"b.spec.js": FLAKY}, ["--fail-on-flaky-tests"]),
        ("error outside of a test: Timed out", "globalTimeout: 2000,", {"b.spec.js": ENDLESS}, []),
        ("tests were not executed", "", {"b.spec.js": PASSING}, ["--max-failures=1"]),
        ("tests were not executed", f"projects: [{SETUP}, {DEPENDENT}],", {"b.spec.js": PASSING}, []),
        ("error outside of a test: ", "forbidOnly: true,", {"b.spec.js": f"{IMPORT}test.only('x', () => {{}});"}, []),
        ("error outside of a test: Error: No tests found", "", {}, ["nothing"]),
        ("shard: is unknown", "", {}, ["--shard=1/1"]),
        ("reporter ", 'reporter: [["@zof-results/playwright"], ["./other.js"]],',
         {"other.js": "module.exports = class { onEnd() { return { status: 'failed' }; } };"}, []),
        ("error outside of a test: Error: Process from ", 'webServer: {command: "exit 3", port: 1},', {}, []),
    ],
)  # fmt: skip
def test_other_cause_is_a_problem(
    playwright: NodeTool, tmp_path: Path, problem: str, config: str, files: dict[str, str], arguments: list[str]
) -> None:
    execute(playwright, tmp_path, config, {"a.spec.js": FAILING, **files}, *arguments).assert_problem(problem)


def test_error_of_a_trusted_reporter_is_a_problem_if_it_fails_the_run(playwright: NodeTool, tmp_path: Path) -> None:
    config = 'reporter: [["@zof-results/playwright", {trustedReporters: ["other.js"]}], ["./other.js"]],'
    other = "module.exports = class { onBegin() { throw new Error('no'); } };"
    session = execute(playwright, tmp_path, config, {"a.spec.js": FAILING, "other.js": other})
    if session.evidence["version"] == "1.52.0":  # which only prints the error
        session.assert_only_failed_tests(1)
    else:
        session.assert_problem("error outside of a test: Error: no")


def test_killed_session_has_the_results_of_all_finished_tests(playwright: NodeTool, tmp_path: Path) -> None:
    files = {"a.spec.js": TWO_TESTS, "b.spec.js": ENDLESS}
    session = execute(playwright, tmp_path, "retries: 1,", files, kill_at="runs")
    session.assert_problem("")
    assert [(result["name"], result["status"]) for result in session.results] == [
        ("fails", "failed"),
        ("passes", "passed"),
    ]
    assert len(session.results[0]["attempts"]) == 2


async def test_results_are_those_of_the_json_report(playwright: NodeTool, tmp_path: Path, database_url: str) -> None:
    """Only the output of failed tests is missing, because native results have none."""
    config = 'retries: 1, projects: [{name: "desktop"}],'
    files = {"web/shop.spec.js": ALL_KINDS, ".git/HEAD": ""}
    session = execute(playwright, tmp_path, config, files)
    assert session.code == 1
    report = (tmp_path / "project" / "report.json").read_bytes()
    root = [("root", str(tmp_path / "project"))]
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as reports:
        receipt = await reports.ingest(report, "json", root)
        assert receipt["status"] == "stored", receipt
        receipt = await reports.ingest(session.upload, "live", root, Content_Type="application/x-ndjson")
        assert receipt["status"] == "stored", receipt
        expected, found = [await stored_results(reports, run_id) for run_id in ("json", "live")]
    assert len(expected) == 18
    assert found == expected
    stored = [result for result in expected if result["status"] == "failed"]
    assert len(stored) == session.evidence["failed_tests"]


async def stored_results(reports: Reports, run_id: str) -> list[Any]:
    """Return the results of a run with their attempts and artifacts, without what differs in each upload."""
    page = await reports.api.get("/v1/results", {"run_id": run_id, "limit": "200"})
    results = []
    for listed in page["data"]:
        result = await reports.api.get(f"/v1/results/{listed['id']}")
        artifacts = (await reports.api.get(f"/v1/results/{listed['id']}/artifacts"))["data"]
        files = [each for each in artifacts if not each["name"].endswith(("stdout.txt", "stderr.txt", "steps.txt"))]
        result["artifacts"] = sorted((each["name"], each["kind"], each["content_type"]) for each in files)
        results.append({name: value for name, value in result.items() if name not in OF_UPLOAD})
    return sorted(results, key=lambda result: (result["suite"], result["name"], str(result["variant"])))
