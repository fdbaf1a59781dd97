"use strict";
// Reporter of Jest. With RESULTS_SPOOL_FOLDER, it writes the evidence for `zof-results run`.

const { readFileSync } = require("node:fs");

const { openEvidence } = require("./evidence.cjs");

const HARMLESS = /^(?:default|agent|verbose|summary|github-actions)$|[\\/]node_modules[\\/](?:jest-junit|jest-ctrf-json-reporter)[\\/]/;
const SNAPSHOT = /to(?:Match|ThrowErrorMatching)\w*Snapshot/; // the matchers in the text of a failure
// jest-circus adds the error of a beforeAll hook to each test below. A stack shows the test or the hook, if nothing was awaited.
const OF_TEST = /_callCircusTest\b/;
const OF_HOOK = /_callCircusHook\b[^\n]*\n[^\n]*_runTestsForDescribeBlock|Exceeded timeout of .* for a hook/;

class ResultsReporter {
  /** `options.trustedReporters` are names of other reporters that never fail a run. */
  constructor(config, { trustedReporters = [] } = {}) {
    this.config = config;
    this.evidence = openEvidence("jest", jestVersion(), (evidence, isNatural) => this.complete(evidence, isNatural));
    this.evidence?.attempt(() => checkConfig(config, trustedReporters, this.evidence));
  }

  onRunComplete(_contexts, results) {
    this.results = results;
    this.handles = results.openHandles;
    if (process.exitCode) this.evidence?.problem(`exit code ${process.exitCode}: was set before the end of the tests`);
  }

  complete(evidence, isNatural) {
    const { results, config } = this;
    if (!results) return false;
    for (const file of results.testResults) addFile(file, evidence);
    if (results.snapshot.unchecked || results.snapshot.filesRemoved) evidence.problem("snapshots: some are obsolete");
    if (results.wasInterrupted) evidence.problem("the run was interrupted");
    if (results.runExecError) evidence.problem(`run: ${results.runExecError.message}`);
    if (config.bail && results.numFailedTests >= config.bail) evidence.problem(`bail: ended the run after ${config.bail} failures`);
    // Jest replaces `openHandles` after globalTeardown. Only forceExit calls process.exit() after it.
    if (!isNatural && !(config.forceExit && results.openHandles !== this.handles)) {
      evidence.problem("Jest ended early, for example because of globalTeardown or another reporter");
    }
    return true;
  }
}

function jestVersion() {
  try {
    return require("jest/package.json").version;
  } catch {
    return undefined;
  }
}

function checkConfig(config, trusted, evidence) {
  for (const [name] of config.reporters ?? []) {
    if (HARMLESS.test(name) || name.startsWith(__dirname) || trusted.some((other) => name.includes(other))) continue;
    evidence.problem(`reporter ${name}: can fail the run. If it never does, add it to trustedReporters.`);
  }
  if (config.collectCoverage && config.coverageThreshold) evidence.problem("coverageThreshold: can fail the run");
  if (config.watch || config.watchAll) evidence.problem("watch mode: has no end");
  if (config.testResultsProcessor) evidence.problem("testResultsProcessor: can change the results");
  evidence.checkShard(config.shard);
}

function addFile(file, evidence) {
  const { testFilePath: path, testExecError: error } = file;
  const failed = file.testResults.filter(({ status }) => status === "failed");
  for (const { ancestorTitles, title } of failed) evidence.tests.add(JSON.stringify([path, ...ancestorTitles, title]));
  if (error) evidence.problem(`${path}: ${error.message ?? error}`);
  const hasHook = /\bbeforeAll\b/.test(readFileSync(path, "utf8"));
  if (failed.some((test) => isOfHook(test, hasHook, file.testResults))) evidence.problem(`${path}: a hook failed, or can have failed`);
  const explained = failed.filter(({ failureMessages }) => failureMessages.some((text) => SNAPSHOT.test(text))).length;
  if (file.snapshot?.unmatched > explained) evidence.problem(`${path}: a snapshot of a passed test doesn't match`);
}

/** Return whether the error of a test can be the one of a hook, which all tests of one of its blocks have. */
function isOfHook({ ancestorTitles, failureMessages }, hasHook, tests) {
  if (failureMessages.some((text) => OF_HOOK.test(text))) return true;
  if (!hasHook || failureMessages.some((text) => OF_TEST.test(text))) return false;
  const executed = tests.filter(({ status }) => status === "passed" || status === "failed");
  return [[], ...ancestorTitles.map((_, index) => ancestorTitles.slice(0, index + 1))].some((block) =>
    executed
      .filter((test) => block.every((title, index) => test.ancestorTitles[index] === title))
      .every((test) => test.failureMessages.includes(failureMessages[0])),
  );
}

module.exports = ResultsReporter;
