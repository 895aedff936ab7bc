import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ContestResult } from "./contest.js";
import type { Growth } from "./growth.js";
import type { Machine } from "./machine.js";

/** What a run of one row gave: one file, so that the report grows over several runs. */
export interface RowResult {
  readonly row: string;
  readonly title: string;
  readonly target: string;
  /** RFC 3339, UTC. */
  readonly date: string;
  /** What made it. */
  readonly command: string;
  /** The checkout's commit, with `+` where files were changed. */
  readonly commit: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string | null>>;
  /** Anything about the run that a reader has to know; empty where there is nothing. */
  readonly conditions: string;
  readonly contests: readonly ContestResult[];
  readonly growths: readonly Growth[];
}

export async function keepResult(folder: string, result: RowResult): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${result.row}.json`), `${JSON.stringify(rounded(result), null, 1)}\n`);
}

/** All results, in the order of the rows. */
export async function readResults(folder: string, order: readonly string[]): Promise<readonly RowResult[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".json"));
  const results = await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(join(folder, name), "utf8")) as RowResult),
  );
  return results.sort((left, right) => order.indexOf(left.row) - order.indexOf(right.row));
}

/** No more digits than a measurement has. */
function rounded(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, part: unknown) =>
      typeof part === "number" && !Number.isInteger(part) ? Number(part.toPrecision(5)) : part,
    ),
  );
}
