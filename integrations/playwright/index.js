"use strict";
// Reporter of Playwright. With RESULTS_SPOOL_FOLDER, it writes the evidence and the results for `zof-results run`.

const { closeSync, openSync, writeSync } = require("node:fs");
const { join } = require("node:path");

const { openEvidence, replaceFile } = require("./evidence.cjs");
const { findRoot, lineOf } = require("./results.js");

const HARMLESS = /^(?:list|line|dot|json|junit|null|github|html|blob|markdown|playwright-ctrf-json-reporter|allure-playwright)$/;

class ResultsReporter {
  /** `options.trustedReporters` are names of other reporters that never change the status of a run. */
  constructor(options = {}) {
    this.trusted = options.trustedReporters ?? [];
    this.hasExited = false;
  }

  printsToStdio() {
    return false;
  }

  onBegin(config, suite) {
    this.evidence = openEvidence("playwright", config.version, (evidence) => this.complete(evidence));
    this.evidence?.attempt(() => {
      this.config = config;
      this.suite = suite;
      this.checkConfig();
      if (!this.evidence.upload.live) return;
      this.root = findRoot(config.rootDir, this.evidence.fields);
      this.path = join(this.evidence.folder, `results-${process.pid}.ndjson`);
      this.file = openSync(this.path, "w");
    });
  }

  onTestEnd(test, result) {
    if (this.file === undefined || (test.outcome() === "unexpected" && result.retry < test.retries)) return;
    this.evidence.attempt(() => writeSync(this.file, lineOf(test, this.root)));
  }

  onError(error) {
    this.evidence?.problem(`error outside of a test: ${error.message ?? error.value ?? "unknown"}`);
  }

  /** Replace the lines by those of all tests: a serial group can execute tests again that had their final result. */
  onEnd(result) {
    this.evidence?.attempt(() => {
      this.status = result.status;
      if (this.file === undefined) return;
      closeSync(this.file);
      replaceFile(this.path, this.suite.allTests().map((test) => lineOf(test, this.root)).join(""));
    });
  }

  async onExit() {
    this.hasExited = true;
  }

  checkConfig() {
    for (const [name] of this.config.reporter) {
      if (HARMLESS.test(name) || [__dirname, __filename, ...this.trusted].includes(name) || name.endsWith("@zof-results/playwright")) continue;
      this.evidence.problem(`reporter ${name}: can change the status. If it never does, add it to trustedReporters.`);
    }
    this.evidence.checkShard(this.config.shard);
  }

  complete(evidence) {
    let notExecuted = 0;
    let flaky = 0;
    for (const test of this.suite.allTests()) {
      const outcome = test.outcome();
      flaky += outcome === "flaky";
      notExecuted += !test.results.length && test.expectedStatus !== "skipped";
      if (outcome === "unexpected") evidence.tests.add(JSON.stringify(test.titlePath()));
      if (outcome === "unexpected" && test.results.some(({ steps }) => hasFailedHook(steps))) {
        evidence.problem(`${test.titlePath().join(" > ")}: a beforeAll or afterAll hook failed`);
      }
      if (test.results.some(({ status }) => status === "interrupted")) evidence.problem(`${test.title}: was interrupted`);
    }
    if (notExecuted) evidence.problem(`${notExecuted} tests were not executed, for example because of maxFailures`);
    // Until version 1.60, the configuration doesn't state failOnFlakyTests to reporters.
    if (flaky && this.config.failOnFlakyTests !== false) evidence.problem(`failOnFlakyTests: can be set, and ${flaky} tests are flaky`);
    if (this.status !== "failed" && this.status !== "passed") evidence.problem(`status of the run: ${this.status}`);
    return this.hasExited;
  }
}

/** Return whether a hook of a group of tests failed. Playwright reports it as a failure of a test. */
function hasFailedHook(steps) {
  return steps.some((step) => step.error && (/^(?:before|after)All hook/.test(step.title) || hasFailedHook(step.steps)));
}

module.exports = ResultsReporter;
