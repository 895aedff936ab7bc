// `npm test`: installs what is missing, builds, runs every suite. What a suite needs beside Node (an engine, a registry, a
// client of somebody else) is used where it is there, and listed as skipped with the reason where it is not.
// Arguments go to Vitest: `npm test -- --project unit src/image`.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare, root } from "./prepare.mjs";

try {
  prepare();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const reporters = ["--reporter=default", `--reporter=${join(root, "scripts", "test-report.mjs")}`];
const result = spawnSync(
  process.execPath,
  [vitest, "run", "--passWithNoTests", ...reporters, ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  },
);
process.exit(result.status ?? 1);
