// A Vitest reporter that sums a run up: counts, and every skipped test with its reason. Where LADING_TEST_REPORT names a
// file, the same goes there as JSON: `.ci/run` adds it to its own checks, and `test-faults.mjs` reads the rows of faults and
// threats in it.
import { writeFileSync } from "node:fs";

/** Tests of a fault or a threat are called `F07 …`, `A12 …`; what a fault's test has checked is in its `meta`. */
function rowOf(test) {
  const [, id, title] = /^([FABCD]\d{1,2}) (.+)$/.exec(test.name) ?? [];
  if (id === undefined) return null;
  const { state } = test.result() ?? { state: "pending" };
  const { checked = [], skipped = {} } = test.meta().fault ?? {};
  return { id, title, state, checked, skipped, ...(state === "skipped" ? { reason: reasonOf(test) } : {}) };
}

/** The reason of a skip stands in parentheses in the test's or a suite's name, or in the note of `context.skip(note)`. */
function reasonOf(test) {
  const note = test.result()?.note;
  if (note) return note;
  return (
    /\(skipped: (.+?)\)(?: >|$)/.exec(test.fullName)?.[1] ??
    /\((.+?)\)(?: >|$)/.exec(test.fullName)?.[1] ??
    `no reason given by "${test.fullName}"`
  );
}

export default class SummaryReporter {
  onTestRunEnd(testModules, unhandledErrors) {
    const summary = { passed: 0, failed: 0, skipped: 0, suites: {}, failures: [], skips: [], rows: [] };
    for (const module of testModules) {
      const name = module.project.name || "tests";
      summary.suites[name] ??= { passed: 0, failed: 0, skipped: 0 };
      const suite = summary.suites[name];
      const count = (key) => {
        summary[key] += 1;
        suite[key] += 1;
      };
      const fail = (what) => {
        count("failed");
        summary.failures.push(`${name}: ${what}`);
      };
      let failedTests = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result() ?? { state: "pending" };
        const row = name === "faults" || name === "threats" ? rowOf(test) : null;
        if (row !== null) summary.rows.push(row);
        if (state === "passed") count("passed");
        else if (state === "skipped") {
          count("skipped");
          summary.skips.push({ suite: name, test: test.fullName, reason: reasonOf(test) });
        } else {
          failedTests += 1;
          fail(`${module.relativeModuleId} > ${test.fullName}`);
        }
      }
      // A file that could not be loaded, or a hook that failed, has no test of its own to say so.
      if (!module.ok() && failedTests === 0) fail(`${module.relativeModuleId} (file, suite or hook)`);
    }
    for (const error of unhandledErrors) {
      summary.failed += 1;
      summary.failures.push(`unhandled: ${error.message}`);
    }
    this.print(summary);
    const file = process.env.LADING_TEST_REPORT;
    if (file) writeFileSync(file, `${JSON.stringify(summary, null, 2)}\n`);
  }

  print({ passed, failed, skipped, suites, failures, skips }) {
    const lines = ["", "Suites"];
    for (const [name, suite] of Object.entries(suites)) {
      lines.push(`  ${name.padEnd(10)} ${suite.passed} passed, ${suite.failed} failed, ${suite.skipped} skipped`);
    }
    if (skips.length > 0) {
      const byReason = new Map();
      for (const skip of skips) byReason.set(skip.reason, [...(byReason.get(skip.reason) ?? []), skip]);
      lines.push("Skipped");
      for (const [reason, tests] of byReason) {
        lines.push(`  ${reason}: ${tests.length} of ${[...new Set(tests.map((test) => test.suite))].join(", ")}`);
      }
    }
    if (failures.length > 0) lines.push("Failed", ...failures.map((failure) => `  ${failure}`));
    lines.push(`${passed} passed, ${failed} failed, ${skipped} skipped`);
    process.stdout.write(`${lines.join("\n")}\n`);
  }
}
