"use strict";
// The results of Playwright as native results of the service: the same fields that it reads from the JSON reporter.

const { existsSync } = require("node:fs");
const { basename, dirname, join, relative, sep } = require("node:path");

const { plainText } = require("./evidence.cjs");

const UNEXPECTED = { passed: "failed", failed: "failed", timedOut: "failed", skipped: "skipped", interrupted: "canceled" };
const UNEXPECTED_SUCCESS = "The test passed, but is marked as failing with test.fail().";
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu; // characters that a name can't contain
const SUFFIX = /\.[A-Za-z][A-Za-z0-9]{0,9}$/;
const KINDS = Object.entries({
  trace: /^trace.*\.(?:zip|json)$|\.(?:trace|har)$/, screenshot: /\.(?:png|jpe?g|gif|webp|bmp|svg|avif)$/,
  video: /\.(?:mp4|webm|avi|mov|mkv|mpeg)$/, log: /\.(?:log|txt|out|err)$/, report: /\.(?:html?|pdf|xml)$/,
});
const KINDS_BY_TYPE = { image: "screenshot", video: "video", text: "log" };
const MAX_ARTIFACTS = 200;
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
  const attempts = test.results.map((result) => attemptOf(result, test));
  const isExecuted = attempts.map(({ status }) => status !== "skipped" && status !== "canceled");
  if (!isExecuted.includes(true)) isExecuted[attempts.length - 1] = true;
  const executed = attempts.filter((_, index) => isExecuted[index]);
  const [file, ...titles] = suitesOf(test);
  const project = test.parent.project()?.name.replace(HIDDEN, "").slice(0, MAX_VARIANT);
  const result = {
    suite: [file.replaceAll("\\", "/"), ...titles].join(" > "),
    name: test.title,
    variant: project ? { project } : undefined,
    file: relative(root, test.location.file).split(sep).join("/"),
    line: test.location.line || undefined,
    status: executed.at(-1)?.status ?? "skipped",
    duration_ms: executed.length ? executed.reduce((sum, { duration_ms = 0 }) => sum + duration_ms, 0) : undefined,
    started_at: executed[0]?.started_at,
    failure: executed.at(-1)?.failure,
    attempts: executed.length > 1 ? executed : undefined,
    artifacts: artifactsOf(test.results.filter((_, index) => isExecuted[index])),
    properties: propertiesOf(test),
  };
  return `${JSON.stringify(result)}\n`;
}

/** Return the title of the file, and the titles of the groups around a test. */
function suitesOf(test) {
  const titles = [];
  for (let suite = test.parent; suite; suite = suite.parent) titles.unshift(suite.title);
  return titles.slice(2); // without the root and the project
}

function attemptOf({ status: stated, startTime, duration, errors }, test) {
  const isExpected = stated === test.expectedStatus && stated !== "skipped";
  const status = isExpected ? "passed" : (UNEXPECTED[stated] ?? stated);
  const failures = status === "passed" || status === "skipped" ? [] : errors.map(failureOf);
  if (status === "failed" && stated === "passed") failures.unshift({ message: UNEXPECTED_SUCCESS });
  const [failure] = failures;
  if (failures.length > 1) failures[0] = { ...failure, details: failures.map(fullText).join("\n\n") };
  return { status, started_at: startTime.toISOString(), duration_ms: duration >= 0 ? duration : undefined, failure: failures[0] };
}

function failureOf(error) {
  const details = plainText(textOf(error));
  const [message] = details.split("\n\n", 1);
  return details === message ? { message } : { message, details };
}

function fullText({ message, details = "" }) {
  return details.includes(message.trim()) ? details : `${message}\n${details}`.trimEnd();
}

/** Return an error as the JSON reporter writes it: its message, the source code, the stack, and its cause. */
function textOf({ message, value, stack = "", location, snippet, cause }) {
  if (!stack && !location) return message || value || "";
  const [text, ...frames] = stack.split(/^(?= {4}at )/m);
  const parts = [text.replace(/\n$/, "") || message || value || ""];
  if (snippet) parts.push("", snippet);
  if (frames.length) parts.push(frames.join(""));
  if (cause) parts.push(`[cause]: ${textOf(cause)}`);
  return parts.join("\n");
}

/** Return the tags as one property, and each annotation with a description. */
function propertiesOf({ tags, annotations }) {
  const pairs = [...tags.map((tag) => ["tags", tag.slice(1)]), ...annotations.map(({ type, description }) => [type, description])];
  const found = {};
  let size = 0;
  for (const [name, value] of pairs) {
    if (!name || !value || `\n${found[name] ?? ""}\n`.includes(`\n${value}\n`)) continue;
    const bytes = size + Buffer.byteLength(name + value);
    if (bytes > MAX_PROPERTY_BYTES || (!(name in found) && Object.keys(found).length >= MAX_PROPERTIES)) continue;
    found[name] = name in found ? `${found[name]}\n${value}` : value;
    size = bytes + 1;
  }
  return size ? found : undefined;
}

/** Return the files of the attempts. The names of files of earlier attempts state the attempt. */
function artifactsOf(results) {
  const files = new Map();
  results.forEach(({ attachments }, index) => {
    const prefix = index < results.length - 1 ? `attempt-${index + 1}-` : "";
    for (const file of attachments) if (file.path) files.set(file.path, { ...file, prefix });
  });
  const found = new Map();
  for (const file of [...files.values()].slice(0, MAX_ARTIFACTS)) {
    const name = uniqueName(file, found);
    found.set(name, { kind: kindOf(file), name, uri: file.path, content_type: file.contentType || undefined });
  }
  return found.size ? [...found.values()] : undefined;
}

function kindOf({ path, contentType = "" }) {
  const name = basename(path).toLowerCase();
  return KINDS.find(([, pattern]) => pattern.test(name))?.[0] ?? KINDS_BY_TYPE[contentType.split("/")[0]] ?? "other";
}

/** Return the name of the file with its suffix, or its path if the name is in use, or the path with a number. */
function uniqueName({ name, path, prefix }, used) {
  const stated = segments(name.replace(HIDDEN, "")).join("/");
  const suffix = SUFFIX.test(stated) ? "" : (SUFFIX.exec(path)?.[0] ?? "");
  for (let number = 0; ; number++) {
    const whole = `${number > 1 ? `${number}-` : ""}${segments(path).join("-")}`;
    const chosen = number ? whole : stated + suffix;
    const unique = chosen.startsWith("attempt-") ? chosen : prefix + chosen;
    if (!used.has(unique)) return unique;
  }
}

function segments(path) {
  return path.split(/[/\\]/).filter((each) => each && each !== "." && each !== "..");
}

module.exports = { findRoot, lineOf, suitesOf };
