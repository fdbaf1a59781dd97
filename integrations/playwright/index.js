"use strict";
// Reporter of Playwright. With RESULTS_SPOOL_FOLDER, it writes the evidence and the results for `zof-results run`.

const { openSync, writeSync } = require("node:fs");
const { join } = require("node:path");

const { openEvidence, replaceFile } = require("./evidence.cjs");
const { findRoot, lineOf } = require("./results.js");
const { splitTests } = require("./split.js");

const HARMLESS = /^(?:list|line|dot|json|junit|null|github|html|blob|markdown|playwright-ctrf-json-reporter|allure-playwright)$/;
const CRASH = /^Error: worker process exited unexpectedly/;

class ResultsReporter {
  /** `options.trustedReporters` are names of other reporters that never change the status of a run. */
  constructor({ trustedReporters = [], ...options } = {}) {
    this.trusted = ["@zof-results/playwright", __dirname, ...trustedReporters];
    this.options = options;
  }

  printsToStdio() {
    return false;
  }

  preprocess(params) {
    if (this.options.split) splitTests(params, this.options);
  }

  onBegin(config, suite) {
    const [major, minor] = config.version.split(".");
    if (this.options.split && major === "1" && minor < 62) {
      console.error(`split: needs Playwright 1.62 or newer, not ${config.version}, which would execute all tests.`);
      process.exit(1); // an exception would not prevent this
    }
    Object.assign(this, { config, suite });
    this.evidence = openEvidence("playwright", config.version, (evidence) => this.complete(evidence));
    this.evidence?.attempt(() => {
      this.evidence.checkShard(config.shard);
      for (const [name] of config.reporter) {
        if (HARMLESS.test(name) || this.trusted.some((other) => name.includes(other))) continue;
        this.evidence.problem(`reporter ${name}: can change the status. If it never does, add it to trustedReporters.`);
      }
      if (!this.evidence.isLive) return;
      this.root = findRoot(config.rootDir, this.evidence.fields);
      this.path = join(this.evidence.folder, `results-${process.pid}.ndjson`);
      this.file = openSync(this.path, "w");
      this.written = new Map(); // numbers of attempts
    });
  }

  onTestEnd(test, result) {
    if (this.file === undefined || this.written.has(test)) return;
    if (test.outcome() === "unexpected" && result.retry < test.retries) return; // another attempt follows
    this.evidence.attempt(() => {
      writeSync(this.file, lineOf(test, this.root));
      this.written.set(test, test.results.length);
    });
  }

  onError(error) {
    this.evidence?.problem(`error outside of a test: ${error.message ?? error.value ?? "unknown"}`);
  }

  /** Replace the lines if a test has no line, or further attempts: a serial group executes all of its tests again. */
  onEnd({ status }) {
    this.status = status;
    this.evidence?.attempt(() => {
      const tests = this.suite.allTests();
      if (this.file === undefined || tests.every((test) => this.written.get(test) === test.results.length)) return;
      replaceFile(this.path, tests.map((test) => lineOf(test, this.root)).join(""));
    });
  }

  async onExit() {
    this.hasExited = true;
  }

  complete(evidence) {
    const tests = this.suite.allTests();
    for (const test of tests) addTest(test, evidence);
    const notExecuted = tests.filter(({ results, expectedStatus }) => !results.length && expectedStatus !== "skipped").length;
    if (notExecuted) evidence.problem(`${notExecuted} tests were not executed, for example because of maxFailures`);
    // Older versions don't state failOnFlakyTests to reporters.
    const canFail = this.config.failOnFlakyTests !== false && tests.some((test) => test.outcome() === "flaky");
    if (canFail) evidence.problem("failOnFlakyTests: can be set, and tests are flaky");
    if (!["failed", "passed"].includes(this.status)) evidence.problem(`status of the run: ${this.status}`);
    return this.hasExited;
  }
}

function addTest(test, evidence) {
  const path = test.titlePath();
  if (test.outcome() === "unexpected") evidence.tests.add(JSON.stringify(path));
  for (const { status, errors, steps } of test.results) {
    if (status === "interrupted") evidence.problem(`${path.join(" > ")}: was interrupted`);
    if (errors.some(({ message }) => CRASH.test(message))) evidence.problem(`${path.join(" > ")}: the worker crashed`);
    if (errors.length && hasFailedHook(steps)) evidence.problem(`${path.join(" > ")}: a beforeAll or afterAll hook failed`);
  }
}

/** Return whether a hook of a group of tests failed. Playwright reports it as a failure of a test. */
function hasFailedHook(steps) {
  return steps.some((step) => step.error && (/^(?:before|after)All hook/.test(step.title) || hasFailedHook(step.steps)));
}

module.exports = ResultsReporter;
