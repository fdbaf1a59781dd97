"""Tests of the reporters for Jest, Vitest, and Playwright, which a script calls as the tools do."""

import json
import os
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts.release import write_npm_package
from tests.integrations.steps import INTEGRATIONS, ROOT

PACKAGES = ("jest", "playwright", "vitest")
JEST = """\
const Reporter = require("%s");
const reporter = new Reporter({ reporters: [["default", {}]], rootDir: __dirname }, {});
const test = (title, status, ...texts) => ({ title, status, ancestorTitles: ["cart"], failureMessages: texts });
const file = (...testResults) => ({ testFilePath: "/dev/null", testResults, snapshot: { unmatched: 0 } });
const results = (...files) => ({ testResults: files, snapshot: {}, openHandles: [], numFailedTests: 1 });
"""
PLAYWRIGHT = """\
const Reporter = require("%s");
const root = { title: "" };
const project = { title: "", parent: root };
const suite = { title: "a.spec.js", parent: project, project: () => ({ name: "" }) };
const attempt = {
  status: "passed", startTime: new Date(0), duration: 5, errors: [], attachments: [], steps: [], retry: 0,
};
const test = (title) => ({
  title, parent: suite, tags: [], annotations: [], retries: 0, expectedStatus: "passed", results: [attempt],
  location: { file: __filename, line: 1 }, outcome: () => "expected", titlePath: () => ["", "", "a.spec.js", title],
});
const config = { version: "1.65.1", reporter: [["line", {}]], rootDir: __dirname, failOnFlakyTests: false };
const reporter = new Reporter({});
"""
ONE_TEST = """\
const one = test("one");
reporter.onBegin(config, { allTests: () => [one] });
reporter.onTestEnd(one, attempt);
"""


@pytest.fixture(autouse=True)
def _node() -> None:
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed (Debian package: nodejs)")


def run_node(folder: Path, tool: str, script: str, spool: Path | None = None) -> tuple[int, str]:
    """Run a script that calls a reporter. Return its exit code and its output, which a reporter doesn't change."""
    source = folder / "script.cjs"
    source.write_text(script.replace("%s", str(INTEGRATIONS / tool), 1))
    variables = {"PATH": os.environ["PATH"]} | ({"RESULTS_SPOOL_FOLDER": str(spool)} if spool else {})
    done = subprocess.run(
        ["node", source], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


def new_spool(folder: Path, fields: list[list[str]] | None = None, *, live: bool = True) -> Path:
    spool = folder / "spool"
    spool.mkdir()
    content = {"format": 1, "run_id": "run_1", "fields": fields or [], "live": live}
    (spool / "upload.json").write_text(json.dumps(content))
    return spool


def evidence_of(spool: Path) -> Any:
    (path,) = spool.glob("evidence-*.json")
    return json.loads(path.read_text())


def test_evidence_has_the_exit_code_and_the_failed_tests(tmp_path: Path) -> None:
    script = """
        const tests = [test("pays", "failed"), test("pays", "failed"), test("ships", "passed")];
        reporter.onRunComplete([], results(file(...tests)));
        process.on("exit", () => { process.exitCode = 7; });
    """
    spool = new_spool(tmp_path)
    assert run_node(tmp_path, "jest", JEST + script, spool) == (7, "")
    evidence = evidence_of(spool)
    del evidence["version"]
    assert evidence == {
        "format": 1, "tool": "jest", "finished": True, "exit_code": 7, "failed_tests": 1, "problems": [],
    }  # fmt: skip
    assert sorted(path.name.partition("-")[0] for path in spool.iterdir()) == ["evidence", "upload.json"]


@pytest.mark.parametrize(
    ("problem", "script"),
    [
        ("second run of jest", "new Reporter({}, {}); reporter.onRunComplete([], results());"),
        ("reporter: TypeError", "reporter.onRunComplete([], { openHandles: [] });"),
        ("a snapshot of a passed test", """
            const changed = file(test("pays", "failed", "expected 1"));
            changed.snapshot.unmatched = 1;
            reporter.onRunComplete([], results(changed));
         """),
        ("the run was interrupted", "reporter.onRunComplete([], { ...results(), wasInterrupted: true });"),
        ("Jest ended early", "reporter.onRunComplete([], results()); process.exit(1);"),
        ("uncaught exception: late",
         "reporter.onRunComplete([], results()); setTimeout(() => { throw new Error('late'); }, 1);"),
        ("exit code 1: no test failed", "reporter.onRunComplete([], results()); process.exitCode = 1;"),
        ("x" * 500, "reporter.evidence.problem('x'.repeat(501));"),
    ],
)  # fmt: skip
def test_problems_of_the_session(tmp_path: Path, problem: str, script: str) -> None:
    spool = new_spool(tmp_path)
    run_node(tmp_path, "jest", JEST + script, spool)
    evidence = evidence_of(spool)
    assert any(problem in text for text in evidence["problems"]), evidence
    assert all(len(text) <= 500 for text in evidence["problems"])


@pytest.mark.parametrize(
    "script",
    ["", "reporter.onRunComplete([], results()); process.kill(process.pid, 'SIGKILL');"],
)
def test_evidence_without_an_end_is_not_finished(tmp_path: Path, script: str) -> None:
    spool = new_spool(tmp_path)
    run_node(tmp_path, "jest", JEST + script, spool)
    assert evidence_of(spool)["finished"] is False


@pytest.mark.parametrize("spool", [None, Path("/nonexistent/spool")])
def test_reporters_do_nothing_without_a_spool(tmp_path: Path, spool: Path | None) -> None:
    assert run_node(tmp_path, "jest", JEST + "reporter.onRunComplete([], results());", spool) == (0, "")
    calls = f"""
        {ONE_TEST}
        reporter.onError({{ message: "no" }});
        reporter.onEnd({{ status: "passed" }});
        reporter.onExit();
    """
    assert run_node(tmp_path, "playwright", PLAYWRIGHT + calls, spool) == (0, "")
    module = INTEGRATIONS / "vitest" / "index.mjs"
    calls = f"import('{module}').then(({{ default: Reporter }}) => new Reporter().onInit({{ config: {{}} }}));"
    assert run_node(tmp_path, "vitest", calls, spool) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["script.cjs"]


def test_results_of_finished_tests_are_complete_lines(tmp_path: Path) -> None:
    calls = """
        const [one, two] = [test("one"), test("two")];
        reporter.onBegin(config, { allTests: () => [one, two] });
        reporter.onTestEnd(one, attempt);
        reporter.onTestEnd({ ...two, retries: 1, outcome: () => "unexpected" }, { ...attempt, status: "failed" });
        process.kill(process.pid, "SIGKILL");
    """
    spool = new_spool(tmp_path, [["root", str(tmp_path)]])
    run_node(tmp_path, "playwright", PLAYWRIGHT + calls, spool)
    (path,) = spool.glob("results-*.ndjson")
    (line,) = path.read_bytes().splitlines(keepends=True)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "suite": "a.spec.js", "name": "one", "file": "script.cjs", "line": 1, "status": "passed", "duration_ms": 5,
        "started_at": "1970-01-01T00:00:00.000Z",
    }  # fmt: skip


def test_test_of_a_serial_group_that_is_executed_again_has_one_result(tmp_path: Path) -> None:
    again = """
        one.results = [attempt, { ...attempt, retry: 1 }];
        reporter.onTestEnd(one, one.results[1]);
        reporter.onEnd({ status: "passed" });
    """
    spool = new_spool(tmp_path)
    run_node(tmp_path, "playwright", PLAYWRIGHT + ONE_TEST + again, spool)
    (path,) = spool.glob("results-*.ndjson")
    (line,) = path.read_text().splitlines()
    assert len(json.loads(line)["attempts"]) == 2


@pytest.mark.parametrize(
    ("fields", "file"),
    [([], "web/script.cjs"), ([["path_prefix", "web"]], "script.cjs"), ([["path_prefix", "api"]], "../web/script.cjs")],
)
def test_files_are_relative_to_the_checkout(tmp_path: Path, fields: list[list[str]], file: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "web").mkdir()
    spool = new_spool(tmp_path, fields)
    run_node(tmp_path / "web", "playwright", PLAYWRIGHT + ONE_TEST, spool)
    (path,) = spool.glob("results-*.ndjson")
    assert json.loads(path.read_text())["file"] == file


def test_reports_that_the_job_sends_itself_have_no_live_results(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, live=False)
    run_node(tmp_path, "playwright", PLAYWRIGHT + ONE_TEST, spool)
    assert not list(spool.glob("results-*"))


def test_live_results_take_less_time_than_20_writes_each(tmp_path: Path) -> None:
    calls = """
        const { openSync, readFileSync, writeSync } = require("node:fs");
        const measure = (work) => {
            const start = process.cpuUsage();
            work();
            const { user, system } = process.cpuUsage(start);
            return user + system;
        };
        const tests = Array.from({ length: 20000 }, (_, number) => test(`test ${number}`));
        reporter.onBegin(config, { allTests: () => tests });
        const reporting = measure(() => {
            for (const each of tests) reporter.onTestEnd(each, attempt);
            reporter.onEnd({ status: "passed" });
        });
        reporter.onExit();
        const lines = readFileSync(reporter.path, "utf8").trim().split("\\n");
        const copy = openSync(`${reporter.path}.copy`, "w");
        const writing = measure(() => lines.forEach((line) => writeSync(copy, line)));
        console.log(lines.length, reporting / writing);
    """
    code, output = run_node(tmp_path, "playwright", PLAYWRIGHT + calls, new_spool(tmp_path))
    assert code == 0, output
    lines, ratio = output.split()
    assert int(lines) == 20_000
    assert float(ratio) < 20


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_have_the_version_of_the_service(name: str, tmp_path: Path) -> None:
    manifest = json.loads((INTEGRATIONS / name / "package.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (manifest["name"], manifest["version"]) == (f"@zof-results/{name}", project["version"])
    assert manifest["license"] == project["license"]
    assert "dependencies" not in manifest
    with tarfile.open(write_npm_package(INTEGRATIONS / name, tmp_path, "0")) as package:
        assert all(member.isfile() for member in package)
        names = {member.name for member in package}
    assert names == {f"package/{file}" for file in ("package.json", "README.md", "LICENSE", *manifest["files"])}
