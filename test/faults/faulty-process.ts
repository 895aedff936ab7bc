import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { LadingOptions, Machine, Outcome } from "../cli/machine.js";

const preload = pathToFileURL(join(import.meta.dirname, "..", "support", "fault-points.mjs")).href;

/** What happens to a process, by the points of `test/support/fault-points.mjs`. */
export interface ProcessFault {
  /** Ends the process with SIGKILL: `rename blob 2`, `after rename index 1`, `write partial 3`, `response GET blob 1`, `step 17`. */
  readonly kill?: string;
  /** Fails one call with an errno, as the operating system would; `NUMBER` may be `*` for each one: `rename blob *`. */
  readonly fail?: { readonly at: string; readonly errno: string };
  /** What its clock leaps over when it is sent SIGUSR2, in ms. */
  readonly leap?: number;
}

export interface ProcessReport {
  /** Points that it came to. */
  readonly steps: number;
  /** How often it came to each kind of point. */
  readonly points: Readonly<Record<string, number>>;
  /** Peak memory in bytes; 0 where the system does not tell. */
  readonly peak: number;
  /** The point at which it was killed. */
  readonly killed: string | null;
}

/** The environment that puts a fault into any process of Node, and where its report will be. */
export async function faultyEnvironment(fault: ProcessFault): Promise<{
  readonly env: Readonly<Record<string, string>>;
  /** Once it has ended; null where it ended by a signal that was not ours. Takes the file away. */
  report(): Promise<ProcessReport | null>;
}> {
  const folder = await mkdtemp(join(tmpdir(), "lading-fault-"));
  const report = join(folder, "report.json");
  return {
    env: {
      NODE_OPTIONS: `--import=${preload}`,
      LADING_FAULT_POINTS: JSON.stringify({ ...fault, report }),
    },
    report: async () => {
      const text = await readFile(report, "utf8").catch(() => null);
      await rm(folder, { recursive: true, force: true });
      return text === null ? null : (JSON.parse(text) as ProcessReport);
    },
  };
}

/** Runs the built command line on a machine, with a fault in its process. */
export async function faultyLading(
  machine: Machine,
  args: readonly string[],
  { kill, fail, leap = 0, ...options }: LadingOptions & ProcessFault = {},
): Promise<Outcome & { readonly report: ProcessReport }> {
  const fault = { leap, ...(kill === undefined ? {} : { kill }), ...(fail === undefined ? {} : { fail }) };
  const { env, report } = await faultyEnvironment(fault);
  const outcome = await machine.lading(args, { ...options, env: { ...options.env, ...env } });
  return { ...outcome, report: (await report()) ?? { steps: 0, points: {}, peak: 0, killed: null } };
}
