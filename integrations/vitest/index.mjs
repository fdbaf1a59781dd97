// Reporter of Vitest. With RESULTS_SPOOL_FOLDER, it writes the evidence for `zof-results run`.

import evidenceModule from "./evidence.cjs";

export default class ResultsReporter {
  onInit(vitest) {
    this.vitest = vitest;
    this.evidence = evidenceModule.openEvidence("vitest", vitest.version, (...state) => this.complete(...state));
    this.evidence?.attempt(() => checkConfig(vitest, this.evidence));
  }

  onFinished() {
    this.hasEnded = true; // until Vitest 2
  }

  onTestRunEnd(_modules, _errors, reason) {
    this.hasEnded = true; // since Vitest 3
    this.isInterrupted = reason === "interrupted";
  }

  onProcessTimeout() {
    this.hasTimedOut = true; // Vitest calls process.exit() if something keeps the process alive after the end
  }

  complete(evidence, isNatural) {
    const { vitest } = this;
    const { bail, dangerouslyIgnoreUnhandledErrors } = vitest.config;
    for (const file of vitest.state.getFiles()) addSuite(file, [file.name ?? file.filepath], evidence);
    const errors = dangerouslyIgnoreUnhandledErrors ? [] : vitest.state.getUnhandledErrors();
    for (const error of errors) evidence.problem(`unhandled error: ${error?.message ?? error}`);
    for (const project of vitest.projects ?? []) checkTeardown(project, vitest, evidence);
    if (bail && evidence.tests.size >= bail) evidence.problem(`bail: ended the run after ${bail} failures`);
    if (this.isInterrupted || vitest.isCancelling) evidence.problem("the run was interrupted");
    if (!isNatural && !this.hasTimedOut) evidence.problem("Vitest ended early, for example because of an unhandled error");
    return this.hasEnded === true;
  }
}

function checkConfig(vitest, evidence) {
  const { config } = vitest;
  const { enabled, reportOnFailure, thresholds = {} } = config.coverage ?? {};
  const { perFile, autoUpdate, ...limits } = thresholds;
  const hasLimits = Object.values(limits).some((limit) => limit !== undefined && limit !== false);
  if (enabled && (hasLimits || reportOnFailure)) evidence.problem("coverage: its thresholds or its report can fail the run");
  if (config.watch) evidence.problem("watch mode: has no end");
  if (config.mode === "benchmark" || vitest.mode === "benchmark") evidence.problem("benchmark mode: has no tests");
  if (config.experimental?.importDurations?.failOnDanger) evidence.problem("importDurations.failOnDanger: can fail the run");
  evidence.checkShard(config.shard);
  for (const { browser, typecheck } of [config, ...(vitest.projects ?? []).map((project) => project.config)]) {
    if (browser?.enabled) evidence.problem("browser mode: failures of the browser belong to no test");
    if (typecheck?.enabled) evidence.problem("typecheck: its errors belong to no test");
  }
}

/** Until version 2, a failed teardown sets the exit code, which nothing reports. */
function checkTeardown(project, vitest, evidence) {
  if (Number.parseInt(vitest.version, 10) > 2 || !project.config.globalSetup?.length) return;
  if (!project._globalSetups?.every(({ teardown }) => !teardown)) evidence.problem("globalSetup: its teardown can fail the run");
}

/** Add the failed tests of a suite, and its own errors. Return whether it contains a failed test. */
function addSuite(suite, path, evidence) {
  let hasFailed = false;
  for (const task of suite.tasks) {
    const titles = [...path, task.name];
    const isFailed = task.tasks ? addSuite(task, titles, evidence) : task.result?.state === "fail";
    if (isFailed && !task.tasks) evidence.tests.add(JSON.stringify(titles));
    hasFailed ||= isFailed;
  }
  const errors = suite.result?.errors ?? [];
  const unknown = suite.result?.state === "fail" && !hasFailed && !errors.length ? [{ message: "failed without a failed test" }] : [];
  for (const error of [...errors, ...unknown]) evidence.problem(`${path.join(" > ")}: ${error.message}`);
  return hasFailed;
}
