// `npm run test:faults`: one line for each fault (F01-F36) and each threat (tables A to D) with its result, and for faults
// the checks N1-N9 that were made. An id without a test is a failure, unless `docs/security.md` lists it under "Rows without a
// test" with what it is for. The exit code is 0 only where every id passed.
//   node scripts/test-faults.mjs                    runs the suites `faults` and `threats`
//   node scripts/test-faults.mjs --report FILE      reads what a run has written for LADING_TEST_REPORT
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { prepare, root } from "./prepare.mjs";

const { values } = parseArgs({ options: { report: { type: "string" } } });

const rows = (letter, count, digits = 1) =>
  Array.from({ length: count }, (_, index) => `${letter}${String(index + 1).padStart(digits, "0")}`);
const wanted = [...rows("F", 36, 2), ...rows("A", 32), ...rows("B", 18), ...rows("C", 14), ...rows("D", 34)];

function run() {
  prepare();
  const folder = mkdtempSync(join(tmpdir(), "lading-faults-"));
  const report = join(folder, "report.json");
  try {
    const reporter = `--reporter=${join(root, "scripts", "test-report.mjs")}`;
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    const args = [vitest, "run", "--project", "faults", "--project", "threats", "--reporter=default", reporter];
    spawnSync(process.execPath, args, {
      cwd: root,
      env: { ...process.env, LADING_TEST_REPORT: report },
      stdio: ["ignore", "inherit", "inherit"],
    });
    return JSON.parse(readFileSync(report, "utf8"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The rows of the table "Rows without a test": id, and what operating system or missing feature it is for. */
function withoutTest() {
  const text = readFileSync(join(root, "docs", "security.md"), "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith("Rows without a test\n")) ?? "";
  return new Map(
    [...section.matchAll(/^\| *([FABCD]\d{1,2}) *\| *(.+?) *\| *(.+?) *\|$/gm)].map(([, id, what, why]) => [
      id,
      `${what}: ${why}`,
    ]),
  );
}

const summary = values.report === undefined ? run() : JSON.parse(readFileSync(values.report, "utf8"));
const excused = withoutTest();
const counts = { passed: 0, failed: 0, missing: 0, excused: 0, skipped: 0 };
const extra = [...new Set(summary.rows.map(({ id }) => id))].filter((id) => !wanted.includes(id)).sort();

for (const id of [...wanted, ...extra]) {
  const tests = summary.rows.filter((row) => row.id === id);
  const failed = tests.filter(({ state }) => state !== "passed" && state !== "skipped");
  const passed = tests.filter(({ state }) => state === "passed");
  const notes = [];
  let result;
  if (failed.length > 0) {
    result = "failed";
    notes.push(failed.map(({ title }) => title).join("; "));
  } else if (passed.length > 0) result = "passed";
  else if (excused.has(id)) result = "excused";
  else if (tests.length > 0) result = "skipped";
  else result = "missing";
  counts[result] += 1;
  if (result === "excused") notes.push(excused.get(id));
  else if (excused.has(id)) notes.push("docs/security.md says that it has no test");
  const checked = [...new Set(tests.flatMap(({ checked }) => checked))].sort();
  if (checked.length > 0) notes.push(checked.join(" "));
  if (tests.length > 0) notes.push(`${tests.length} ${tests.length === 1 ? "test" : "tests"}`);
  for (const reason of new Set(tests.flatMap(({ reason }) => (reason === undefined ? [] : [reason])))) {
    notes.push(`skipped: ${reason}`);
  }
  for (const [check, reason] of new Map(tests.flatMap(({ skipped }) => Object.entries(skipped)))) {
    notes.push(`${check} skipped: ${reason}`);
  }
  process.stdout.write(`${id.padEnd(4)} ${result.padEnd(8)} ${notes.join(", ")}\n`);
}
const { passed, failed, missing, skipped } = counts;
process.stdout.write(
  `${passed} passed, ${failed} failed, ${skipped} skipped, ${missing} without a test; ` +
    `${counts.excused} rows have a line in docs/security.md instead of a test\n`,
);
// A failure that is no row's own: a file that did not load, a test of the harness.
const others = summary.failures.filter((failure) => /^(faults|threats|unhandled): /.test(failure)).length;
if (others > 0 && failed === 0) process.stdout.write(`${others} failures of no row: see above\n`);
const bad = failed > 0 || others > 0 || missing > 0;
process.exit(bad ? 1 : 0);
