import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { findProgram } from "../test/support/programs.js";
import { type Contest, type ContestResult, hold } from "./contest.js";
import { growthsOf, growthText } from "./growth.js";
import { ImageShelf } from "./image-shelf.js";
import { describeMachine, describeVersions } from "./machine.js";
import { writeReport } from "./report.js";
import { keepResult } from "./results.js";
import type { Row } from "./row.js";
import { rows } from "./rows/index.js";
import { textTable } from "./table.js";
import { World } from "./world.js";

/** A row may take this long, in ms; the image that it makes at first is not counted. */
const rowTime = 20 * 60_000;

const say = (text: string) => process.stdout.write(`${text}\n`);

/**
 * The bench, with its command line.
 * @param root The checkout: built, with `dist/` in it.
 * @returns The exit code: 1 where a row could not be run or something did not arrive whole, never for a time.
 */
export async function main(argv: readonly string[], root: string): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      row: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      report: { type: "boolean", default: false },
      /** What a reader of the figures has to know: that the machine had other work, say. */
      conditions: { type: "string", default: "" },
      /** Where images are kept, and where it works. */
      images: { type: "string", default: join(homedir(), ".cache", "lading-bench") },
      folder: { type: "string", default: tmpdir() },
    },
  });
  const asked = values.row.flatMap((text) => text.split(","));
  const unknown = asked.filter((id) => !rows.some((row) => row.id === id));
  if (unknown.length > 0) {
    say(`there is no row ${unknown.join(", ")}; --list shows them`);
    return 64;
  }
  const chosen = asked.length === 0 ? rows : rows.filter(({ id }) => asked.includes(id));
  if (values.list) {
    for (const { id, title, target } of rows) say(`${id.padEnd(4)} ${title}: ${target}`);
    return 0;
  }
  if (values.report) {
    await writeReport(root, rows);
    return 0;
  }
  let failed = 0;
  const folder = await mkdtemp(join(values.folder, "lading-bench-"));
  try {
    await mkdir(values.images, { recursive: true });
    const command = `npm run bench -- ${argv.filter((word) => word.startsWith("--") || rows.some(({ id }) => id === word)).join(" ")}`;
    for (const row of chosen) {
      const missing = row.needs.filter((program) => findProgram(program) === null);
      if (missing.length > 0) {
        say(`${row.id} skipped: ${missing.join(", ")} not on this machine`);
        continue;
      }
      const place = await mkdtemp(join(folder, `${row.id}-`));
      const shelf = new ImageShelf(values.images, say);
      const world = new World({
        folder: place,
        images: shelf,
        quick: values.quick,
        program: join(root, "dist", "bin", "lading.js"),
      });
      try {
        await runRow(row, world, { root, command, conditions: values.conditions });
      } catch (error) {
        failed += 1;
        say(`${row.id} FAILED: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        await rm(place, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
      }
    }
    if (!values.quick) await writeReport(root, rows);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return failed === 0 ? 0 : 1;
}

interface RowRun {
  readonly root: string;
  readonly command: string;
  readonly conditions: string;
}

async function runRow(row: Row, world: World, { root, command, conditions }: RowRun): Promise<void> {
  say(`${row.id} ${row.title}`);
  const machine = await describeMachine();
  if (!world.quick) await world.needDisk(row.disk);
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  const versions = await describeVersions(version);
  const contests: ContestResult[] = [];
  const held: Contest[] = [];
  let left = rowTime;
  for await (const contest of row.contests(world)) {
    say(`  ${contest.name}`);
    const started = performance.now();
    held.push(contest);
    contests.push(await hold(contest, { quick: world.quick, deadline: started + left, say }));
    left -= performance.now() - started;
  }
  for (const contest of contests) say(`\n${textTable(contest, { judged: !world.quick })}\n`);
  if (world.quick) return;
  const growths = growthsOf(held, contests);
  for (const growth of growths) say(`  ${growthText(growth)}`);
  const { id, title, target } = row;
  const result = {
    row: id,
    title,
    target,
    date: new Date().toISOString(),
    command,
    commit: commitOf(root),
    machine,
    versions,
  };
  await keepResult(join(root, "bench", "results"), { ...result, conditions, contests, growths });
}

function commitOf(root: string): string {
  const git = (...args: string[]) => spawnSync("git", ["-C", root, ...args], { encoding: "utf8" }).stdout.trim();
  return `${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain", "--", "src") === "" ? "" : "+"}`;
}
