import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";

/** How one command of the built CLI ended. */
export interface LadingRun {
  readonly args: readonly string[];
  /** Null where a signal ended it. */
  readonly exit: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The signal that it was sent while it ran. */
  readonly sent: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Peak of its resident memory, in bytes. */
  readonly peak: number;
  readonly ms: number;
  /** It was still there when the guard's time was over, and was killed; or something that it had started was. */
  readonly hung: boolean;
}

export interface LadingRunOptions {
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** Ends it early: which signal, after how many ms. */
  readonly kill?: { readonly signal: "SIGKILL" | "SIGINT"; readonly after: number } | null;
}

/** A guard against hanging, in ms: ten times and more what anything here takes, waits of the retries included. */
const guard = 300_000;

export async function runLading(args: readonly string[], options: LadingRunOptions): Promise<LadingRun> {
  const started = performance.now();
  const child = spawn(process.execPath, [options.program, ...args], {
    env: options.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr, peak] = ["", "", 0];
  let hung = false;
  let sent: NodeJS.Signals | null = null;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const watch = setInterval(async () => {
    peak = Math.max(peak, await peakOf(child.pid));
  }, 50);
  const late = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, guard);
  const { kill } = options;
  const early = kill
    ? setTimeout(() => {
        sent = kill.signal;
        child.kill(kill.signal);
      }, kill.after)
    : undefined;
  let left: NodeJS.Timeout | undefined;
  const [exit, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on("error", reject);
    // What it has started, and left behind, may hold its pipes open for ever.
    child.on("exit", () => {
      left = setTimeout(() => {
        hung = true;
        child.stdout.destroy();
        child.stderr.destroy();
      }, 30_000);
    });
    child.on("close", (...end) => resolve(end));
  });
  clearInterval(watch);
  clearTimeout(late);
  clearTimeout(left);
  clearTimeout(early);
  return { args, exit, signal, sent, stdout, stderr, peak, ms: performance.now() - started, hung };
}

/** The most memory that a running process has had, in bytes. */
export async function peakOf(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}
