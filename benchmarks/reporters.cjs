// Calls the hooks of a reporter with generated objects: node reporters.cjs playwright|jest|vitest FILES TESTS
// Without RESULTS_SPOOL_FOLDER, the reporter does nothing.
"use strict";
const { join } = require("node:path");

const [tool, files, tests] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const folder = join(__dirname, "..", "integrations", tool);
const range = (length, make) => Array.from({ length }, (_, index) => make(index));
const isFailed = (index) => index % 100 === 0;
const failure = { message: "Error: no\n\nmore", stack: "Error: no\n\nmore\n    at f (a.js:1:1)" };

async function playwright(Reporter) {
  const root = { title: "", parent: undefined, project: () => ({ name: "chromium" }) };
  const project = { title: "chromium", parent: root, project: root.project };
  const all = range(files, (file) => {
    const suite = { title: `file-${file}.spec.ts`, parent: project, project: root.project };
    return range(tests, (index) => {
      const status = isFailed(index) ? "failed" : "passed";
      const errors = isFailed(index) ? [failure] : [];
      return {
        title: `test ${index}`, parent: suite, retries: 0, expectedStatus: "passed", tags: ["@fast"], annotations: [],
        location: { file: `/srv/tests/${suite.title}`, line: index + 1 }, outcome: () => (isFailed(index) ? "unexpected" : "expected"),
        titlePath: () => ["", "chromium", suite.title, `test ${index}`],
        results: [{ status, startTime: new Date(0), duration: 5, errors, steps: [], attachments: [], retry: 0 }],
      };
    });
  }).flat();
  const reporter = new Reporter();
  reporter.onBegin({ version: "1.50.0", reporter: [["list"]], rootDir: "/srv/tests", shard: null }, { allTests: () => all });
  for (const test of all) reporter.onTestEnd(test, test.results[0]);
  reporter.onEnd({ status: "failed" });
  await reporter.onExit();
}

function jest(Reporter) {
  const testResults = range(files, (file) => ({
    testFilePath: `/srv/tests/file-${file}.test.js`,
    testResults: range(tests, (index) => ({
      ancestorTitles: ["shop"], title: `test ${index}`, status: isFailed(index) ? "failed" : "passed",
      failureMessages: isFailed(index) ? [failure.stack] : [],
    })),
  }));
  const results = { testResults, snapshot: {}, numFailedTests: 1 };
  const reporter = new Reporter({ reporters: [["default"]] });
  reporter.onRunComplete(new Set(), results);
}

function vitest(Reporter) {
  const found = range(files, (file) => ({
    name: `file-${file}.test.js`,
    tasks: range(tests, (index) => ({ name: `test ${index}`, result: { state: isFailed(index) ? "fail" : "pass" } })),
  }));
  const reporter = new Reporter();
  reporter.onInit({ version: "3.0.0", config: {}, state: { getFiles: () => found, getUnhandledErrors: () => [] } });
  reporter.onTestRunEnd([], [], "failed");
}

const MODULES = { playwright: "index.js", jest: "index.js", vitest: "index.mjs" };
import(join(folder, MODULES[tool])).then(async ({ default: Reporter }) => {
  await { playwright, jest, vitest }[tool](Reporter);
  process.exitCode = 1;
});
