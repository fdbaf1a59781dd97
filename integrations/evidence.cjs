"use strict";
// The evidence that `zof-results run` reads: how a session of a test tool ended. It needs the variable RESULTS_SPOOL_FOLDER.

const { readFileSync, renameSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const OPENED = Symbol.for("zof-results.evidence");
const MAX_PROBLEMS = 100;
const MAX_TEXT = 500; // characters of a problem
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]/g;

/** Return the text without escape sequences and control characters, except line ends and tabs. */
function plainText(text) {
  return String(text).replace(/\r\n/g, "\n").replace(ESCAPES, "").replace(CONTROLS, "");
}

/** Replace a file, so that a reader sees either the complete earlier content or the complete new one. */
function replaceFile(path, content) {
  writeFileSync(`${path}.tmp`, content);
  renameSync(`${path}.tmp`, path);
}

class Evidence {
  /** `complete(evidence, isNatural)` adds what the tool knows when the process exits, and returns whether it finished. */
  constructor(folder, tool, version, complete) {
    const upload = JSON.parse(readFileSync(join(folder, "upload.json"), "utf8"));
    this.folder = folder;
    this.fields = Object.fromEntries(upload.fields);
    this.isLive = upload.live;
    this.content = { format: 1, tool, version, finished: false, exit_code: null, failed_tests: 0, problems: [] };
    this.tests = new Set(); // identities of failed tests: several executions of one test are one failure
    this.complete = complete;
    this.write();
    let isNatural = false; // whether Node.js had nothing more to do, instead of process.exit() or an exception
    const end = (code) => this.attempt(() => this.end(code, isNatural));
    process.on("exit", end);
    process.on("beforeExit", () => {
      isNatural = true;
      process.off("exit", end).on("exit", end); // behind the listener of Jest that sets the exit code
    });
    process.on("uncaughtExceptionMonitor", (error) => this.problem(`uncaught exception: ${error?.message ?? error}`));
  }

  /** Add a failure outside of a test, or a second cause of the exit code. */
  problem(text) {
    const { problems } = this.content;
    if (problems.length < MAX_PROBLEMS) problems.push([...plainText(text)].slice(0, MAX_TEXT).join(""));
  }

  /** Call a function, and return its value. Its exception is a problem, because it must not change the tool. */
  attempt(action) {
    try {
      return action();
    } catch (error) {
      return this.problem(`reporter: ${error?.stack ?? error}`);
    }
  }

  checkShard(shard) {
    if (shard && !this.fields.shard) this.problem("shard: is unknown to the upload. Add --shard to the options of run.");
  }

  end(code, isNatural) {
    const { content, tests } = this;
    content.exit_code = Number(process.exitCode ?? code);
    const hasFinished = this.attempt(() => this.complete(this, isNatural));
    if (content.exit_code !== 0 && !tests.size) this.problem(`exit code ${content.exit_code}: no test failed`);
    Object.assign(content, { failed_tests: tests.size, finished: hasFinished === true });
    this.write();
  }

  write() {
    replaceFile(join(this.folder, `evidence-${process.pid}.json`), JSON.stringify(this.content));
  }
}

/** Return the evidence of this process, or undefined without the variable, in a second run, and if the folder is unusable. */
function openEvidence(tool, version, complete) {
  const folder = process.env.RESULTS_SPOOL_FOLDER;
  if (globalThis[OPENED]) return globalThis[OPENED].problem(`second run of ${tool} in the same process`);
  try {
    return folder && (globalThis[OPENED] = new Evidence(folder, tool, version ?? "unknown", complete));
  } catch {
    return undefined; // without evidence, no failure is excused
  }
}

module.exports = { openEvidence, plainText, replaceFile };
