"use strict";
// One part of the tests, which the client `zof-results split` knows. Without its answer, nothing is executed.

const { spawnSync } = require("node:child_process");

const { suitesOf } = require("./results.js");

/** Exclude the tests of other parts. Projects for setup and teardown are executed completely, if other tests need them. */
function splitTests({ config, suite, testRun }, { split, splitKey, splitUnit = "file" }) {
  testRun.skipSharding();
  const needed = new Set(suite.suites.flatMap((each) => [...each.project().dependencies, each.project().teardown]));
  const tests = suite.suites.filter((each) => !needed.has(each.project().name)).flatMap((each) => each.allTests());
  const itemOf = (test) => {
    const [file, ...titles] = suitesOf(test);
    const path = file.replaceAll("\\", "/");
    if (splitUnit === "file") return path;
    if (testRun.mode(test.parent) === "serial") throw new Error(`split: the tests of a serial group in ${path} belong together. Set splitUnit to "file".`);
    return [path, ...titles, test.title].join(" > ");
  };
  const items = new Set(tests.map(itemOf));
  const [index, total] = split.replace("auto", "").split("/");
  const part = askClient(items, config.rootDir, { index, total, key: splitKey, unit: splitUnit });
  for (const test of tests) if (!part.has(itemOf(test))) testRun.exclude(test);
  if (!part.size) config.shard ??= { current: 1, total: 1 }; // Playwright fails without tests, except in a shard
}

function askClient(items, cwd, stated) {
  const [client, ...words] = JSON.parse(process.env.RESULTS_CLIENT ?? '["zof-results"]');
  const options = Object.entries(stated).filter(([, value]) => value).map(([name, value]) => `--${name}=${value}`);
  const settings = { cwd, input: [...items].join("\n"), encoding: "utf8", timeout: 60_000, maxBuffer: Infinity };
  const { error, status, stdout, stderr } = spawnSync(client, [...words, "split", "--expect-results", ...options], settings);
  if (error) throw new Error(`split: ${error.message}. Install zof-results, or start Playwright with zof-results run.`);
  const part = new Set(stdout.split("\n").filter(Boolean));
  const unknown = [...part].filter((item) => !items.has(item));
  if (status || unknown.length) throw new Error(`split: exit code ${status} of the client: ${stderr.trim() || `unknown items ${unknown}`}`);
  process.stderr.write(stderr);
  return part;
}

module.exports = { splitTests };
