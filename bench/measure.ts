import { spawn } from "node:child_process";
import { findProgram } from "../test/support/programs.js";
import { endedChildrenCpu, forgetPeaks, treeUsage } from "./process-tree.js";

/** A program to run. */
export interface Command {
  /** A path, or a name on PATH or among the tools. */
  readonly program: string;
  readonly args: readonly string[];
  /** The whole environment, beside PATH. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What one run cost. */
export interface Sample {
  readonly seconds: number;
  /** CPU seconds of the program, its children, and the daemons that worked for it. */
  readonly cpu: number;
  /** Most bytes resident at a time: of the program, its children, and the daemons that worked for it. */
  readonly memory: number;
  /** Further figures of a row, by name: requests, bytes on the wire. */
  readonly extra?: Readonly<Record<string, number>>;
}

export interface Measured extends Sample {
  readonly stdout: string;
  readonly stderr: string;
}

export interface MeasureOptions {
  /** Processes that do the program's work without being its children, such as an engine's. */
  readonly daemons?: readonly number[];
  /** Leave memory alone: to look at it costs more than a run of some milliseconds does. @default false */
  readonly timeOnly?: boolean;
  /** ms. @default 1200000 */
  readonly timeout?: number;
}

/** Between two looks at the memory, in ms. The kernel keeps each process's own peak between them. */
const interval = 20;

/**
 * Runs a program to its end, and says what it cost: its time from the fork to the exit, its CPU as the kernel counted it, and
 * its memory by looking at /proc while it runs. That finds children and daemons too, which `time` does not; the price
 * is that processes which come and go between two looks are missed in the memory (not in the CPU).
 * @throws Error with what it printed, where it fails
 */
export async function measure(command: Command, options: MeasureOptions = {}): Promise<Measured> {
  const path = command.program.includes("/") ? command.program : findProgram(command.program);
  if (path === null) throw new Error(`${command.program} is not on this machine`);
  const { daemons = [], timeOnly = false, timeout = 1_200_000 } = options;
  for (const daemon of daemons) await forgetPeaks(daemon);
  const daemonCpu = async () => (await Promise.all(daemons.map(treeUsage))).reduce((sum, { cpu }) => sum + cpu, 0);
  const [childrenBefore, daemonsBefore] = [await endedChildrenCpu(), await daemonCpu()];
  const env = { PATH: process.env.PATH ?? "", ...command.env };
  const started = performance.now();
  const child = spawn(path, command.args, { env, cwd: command.cwd, stdio: ["ignore", "pipe", "pipe"], timeout });
  let ended = started;
  const exit = new Promise<string | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status, signal) => {
      ended = performance.now();
      resolve(status === 0 ? null : `ended with ${status ?? signal}`);
    });
  });
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const watch = timeOnly ? null : watchMemory([...(child.pid === undefined ? [] : [child.pid]), ...daemons]);
  const failure = await exit;
  const memory = (await watch?.end()) ?? 0;
  await closed;
  if (failure !== null) throw new Error(`${command.program} ${command.args.join(" ")} ${failure}\n${stdout}${stderr}`);
  const cpu = (await endedChildrenCpu()) - childrenBefore + (await daemonCpu()) - daemonsBefore;
  return { seconds: (ended - started) / 1000, cpu, memory, stdout, stderr };
}

/** Looks at the memory of processes until it is ended; then it tells the most that they had together, in bytes. */
export function watchMemory(roots: readonly number[]): { end(): Promise<number> } {
  let [peak, over] = [0, false];
  const look = async () => {
    const usages = await Promise.all(roots.map(treeUsage));
    const together = usages.reduce((sum, { resident }) => sum + resident, 0);
    peak = Math.max(peak, together, ...usages.map(({ largestPeak }) => largestPeak));
  };
  const looking = (async () => {
    while (!over) {
      await look();
      await new Promise((resolve) => setTimeout(resolve, interval));
    }
  })();
  return {
    async end() {
      over = true;
      await looking;
      // Daemons are still there, and know their peaks.
      await look();
      return peak;
    },
  };
}
