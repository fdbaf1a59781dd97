"use strict";
// Reporter of Jest. With RESULTS_SPOOL_FOLDER, it writes the evidence for `zof-results run`.

const { openEvidence } = require("./evidence.cjs");

const HARMLESS = /^(?:default|agent|verbose|summary|github-actions)$|[\\/]node_modules[\\/](?:jest-junit|jest-ctrf-json-reporter)[\\/]/;
const SNAPSHOT = /to(?:Match|ThrowErrorMatching)\w*Snapshot/; // the matchers in the text of a failure

class ResultsReporter {
  /** `options.trustedReporters` are names of other reporters that never fail a run. */
  constructor(globalConfig, options = {}) {
    this.evidence = openEvidence("jest", jestVersion(globalConfig), (evidence, isNatural) => this.complete(evidence, isNatural));
    this.evidence?.attempt(() => checkConfig(globalConfig, options, this.evidence));
    this.isForced = globalConfig.forceExit;
    this.bail = globalConfig.bail;
  }

  onRunComplete(_contexts, results) {
    this.evidence?.attempt(() => {
      this.results = results;
      this.handles = results.openHandles;
      if (process.exitCode) this.evidence.problem(`exit code ${process.exitCode}: was set before the end of the tests`);
    });
  }

  complete(evidence, isNatural) {
    const { results } = this;
    if (!results) return false;
    for (const file of results.testResults) addFile(file, evidence);
    const { snapshot } = results;
    if (snapshot.unchecked || snapshot.filesRemoved) evidence.problem("snapshots: some are obsolete");
    if (results.wasInterrupted) evidence.problem("the run was interrupted");
    if (results.runExecError) evidence.problem(`run: ${results.runExecError.message}`);
    if (this.bail && results.numFailedTests >= this.bail) evidence.problem(`bail: ended the run after ${this.bail} failures`);
    // Jest replaces `openHandles` after globalTeardown. Only forceExit calls process.exit() after it.
    if (!(isNatural || (this.isForced && results.openHandles !== this.handles))) {
      evidence.problem("Jest ended early, for example because of globalTeardown or another reporter");
    }
    return true;
  }
}

function jestVersion(globalConfig) {
  try {
    return require(require.resolve("jest/package.json", { paths: [globalConfig.rootDir] })).version;
  } catch {
    return "unknown";
  }
}

function checkConfig(config, options, evidence) {
  const trusted = options.trustedReporters ?? [];
  for (const [name] of config.reporters ?? []) {
    const isKnown = HARMLESS.test(name) || name.startsWith(__dirname) || trusted.some((other) => name.includes(other));
    if (!isKnown) evidence.problem(`reporter ${name}: can fail the run. If it never does, add it to trustedReporters.`);
  }
  if (config.collectCoverage && config.coverageThreshold) evidence.problem("coverageThreshold: can fail the run");
  if (config.watch || config.watchAll) evidence.problem("watch mode: has no end");
  if (config.testResultsProcessor) evidence.problem("testResultsProcessor: can change the results");
  evidence.checkShard(config.shard);
}

function addFile(file, evidence) {
  const failed = file.testResults.filter((test) => test.status === "failed");
  for (const test of failed) evidence.tests.add(JSON.stringify([file.testFilePath, ...test.ancestorTitles, test.title]));
  const error = file.testExecError;
  if (error) evidence.problem(`${file.testFilePath}: ${error.message ?? file.failureMessage ?? error}`);
  const explained = failed.filter((test) => test.failureMessages.some((text) => SNAPSHOT.test(text))).length;
  if (file.snapshot?.unmatched > explained) evidence.problem(`${file.testFilePath}: a snapshot of a passed test doesn't match`);
}

module.exports = ResultsReporter;
