"use strict";
// The results of Playwright as native results of the service: the same fields that it reads from the JSON reporter.

const { existsSync } = require("node:fs");
const { dirname, join, relative, sep } = require("node:path");

const { plainText } = require("./evidence.cjs");

const STATUSES = { passed: "failed", failed: "failed", timedOut: "failed", skipped: "skipped", interrupted: "canceled" }; // if unexpected
const UNEXPECTED_SUCCESS = "The test passed, but is marked as failing with test.fail().";
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu; // characters that a name can't contain
const SUFFIX = /\.[A-Za-z][A-Za-z0-9]{0,9}$/;
const KINDS = {
  png: "screenshot", jpg: "screenshot", jpeg: "screenshot", gif: "screenshot", webp: "screenshot", bmp: "screenshot",
  svg: "screenshot", avif: "screenshot", mp4: "video", webm: "video", avi: "video", mov: "video", mkv: "video",
  mpeg: "video", log: "log", txt: "log", out: "log", err: "log", html: "report", htm: "report", pdf: "report",
  xml: "report", trace: "trace", har: "trace",
};
const KINDS_BY_TYPE = { image: "screenshot", video: "video", text: "log" };
const MAX_ARTIFACTS = 200;
const MAX_ATTEMPTS = 1000;
const MAX_PROPERTIES = 50;
const MAX_PROPERTY_BYTES = 8 * 1024; // names and values of one result
const MAX_VARIANT = 64;

/** Return the folder to which files are relative: the checkout, or the prefix in it that the server adds. */
function findRoot(folder, fields) {
  let root = fields.root ?? folder;
  while (!fields.root && !existsSync(join(root, ".git"))) {
    if (dirname(root) === root) return folder;
    root = dirname(root);
  }
  return join(root, fields.path_prefix ?? "");
}

/** Return the result of a test as one line. */
function lineOf(test, root) {
  return `${JSON.stringify(resultOf(test, root))}\n`;
}

function resultOf(test, root) {
  const [file, ...titles] = suitesOf(test);
  const attempts = test.results.map((result) => attemptOf(result, test));
  let executed = attempts.filter(({ status }) => status !== "skipped" && status !== "canceled");
  if (!executed.length) executed = attempts.slice(-1);
  const durations = executed.map((attempt) => attempt.duration_ms).filter((duration) => duration !== undefined);
  const project = test.parent.project()?.name.replace(HIDDEN, "").slice(0, MAX_VARIANT);
  return {
    suite: [file.replaceAll("\\", "/"), ...titles].join(" > "),
    name: test.title,
    variant: project ? { project } : undefined,
    file: relative(root, test.location.file).split(sep).join("/"),
    line: test.location.line || undefined,
    status: executed.at(-1)?.status ?? "skipped",
    duration_ms: durations.length ? durations.reduce((sum, duration) => sum + duration) : undefined,
    started_at: executed[0]?.started_at,
    failure: executed.at(-1)?.failure,
    attempts: executed.length > 1 ? executed.slice(-MAX_ATTEMPTS) : undefined,
    artifacts: artifactsOf(test.results.filter((_, index) => executed.includes(attempts[index]))),
    properties: propertiesOf(test),
  };
}

/** Return the title of the file, and the titles of the groups around a test. */
function suitesOf(test) {
  const titles = [];
  for (let suite = test.parent; suite; suite = suite.parent) titles.unshift(suite.title);
  return titles.slice(2); // without the root and the project
}

function attemptOf(result, test) {
  const isExpected = result.status === test.expectedStatus && result.status !== "skipped";
  const status = isExpected ? "passed" : (STATUSES[result.status] ?? result.status);
  const attempt = { status, started_at: result.startTime.toISOString() };
  if (result.duration >= 0) attempt.duration_ms = result.duration;
  if (status === "passed" || status === "skipped") return attempt;
  const failures = result.errors.map(failureOf);
  if (result.status === "passed") failures.unshift({ message: UNEXPECTED_SUCCESS });
  if (failures.length === 1) [attempt.failure] = failures;
  if (failures.length > 1) attempt.failure = { ...failures[0], details: failures.map(fullText).join("\n\n") };
  return attempt;
}

function failureOf(error) {
  const details = plainText(textOf(error));
  const [message] = details.split("\n\n", 1);
  return details === message ? { message } : { message, details };
}

/** Return an error as the JSON reporter writes it: its message, the source code, the stack, and its cause. */
function textOf(error) {
  const message = error.message || error.value || "";
  if (!error.stack && !error.location) return message;
  const lines = (error.stack ?? "").split("\n");
  const start = lines.findIndex((line) => line.startsWith("    at "));
  const end = start < 0 ? lines.length : start;
  const parts = [lines.slice(0, end).join("\n") || message];
  if (error.snippet) parts.push("", error.snippet);
  if (end < lines.length) parts.push(lines.slice(end).join("\n"));
  if (error.cause) parts.push(`[cause]: ${textOf(error.cause)}`);
  return parts.join("\n");
}

function fullText({ message, details = "" }) {
  return details.includes(message.trim()) ? details : `${message}\n${details}`.trimEnd();
}

/** Return the tags as one property, and each annotation with a description. */
function propertiesOf(test) {
  const pairs = test.tags.map((tag) => ["tags", tag.slice(1)]);
  pairs.push(...test.annotations.map(({ type, description }) => [type, description]));
  const found = {};
  let size = 0;
  for (const [name, value] of pairs) {
    if (!name || !value || `\n${found[name] ?? ""}\n`.includes(`\n${value}\n`)) continue;
    const bytes = size + Buffer.byteLength(name) + Buffer.byteLength(value);
    if (bytes > MAX_PROPERTY_BYTES || (!(name in found) && Object.keys(found).length >= MAX_PROPERTIES)) continue;
    found[name] = name in found ? `${found[name]}\n${value}` : value;
    size = bytes + 1;
  }
  return Object.keys(found).length ? found : undefined;
}

/** Return the files of the attempts. The names of files of earlier attempts state the attempt. */
function artifactsOf(results) {
  const files = new Map();
  results.forEach((result, index) => {
    const prefix = index < results.length - 1 ? `attempt-${index + 1}-` : "";
    for (const attachment of result.attachments) if (attachment.path) files.set(attachment.path, { ...attachment, prefix });
  });
  const used = new Set();
  const artifacts = [...files.values()].slice(0, MAX_ARTIFACTS).map((attachment) => {
    const { path: uri, contentType } = attachment;
    return { kind: kindOf(uri, contentType), name: uniqueName(attachment, used), uri, content_type: contentType || undefined };
  });
  return artifacts.length ? artifacts : undefined;
}

function kindOf(path, contentType = "") {
  const name = path.split(/[/\\]/).at(-1).toLowerCase();
  if (/^trace.*\.(?:zip|json)$/.test(name)) return "trace";
  return KINDS[name.split(".").at(-1)] ?? KINDS_BY_TYPE[contentType.split("/")[0]] ?? "other";
}

/** Return the name of the attachment with the suffix of its file, or its path if the name is in use, or that with a number. */
function uniqueName({ name, path, prefix }, used) {
  const stated = segments(name.replace(HIDDEN, "")).join("/");
  const suffix = SUFFIX.exec(path)?.[0] ?? "";
  const whole = segments(path).join("-");
  const names = [SUFFIX.test(stated) ? stated : stated + suffix, whole];
  for (let number = 2; number <= MAX_ARTIFACTS + 1; number++) names.push(`${number}-${whole}`);
  const unique = names.map((each) => (each.startsWith("attempt-") ? each : prefix + each)).find((each) => !used.has(each));
  used.add(unique);
  return unique;
}

function segments(path) {
  return path.replaceAll("\\", "/").split("/").filter((each) => each && each !== "." && each !== "..");
}

module.exports = { findRoot, lineOf };
