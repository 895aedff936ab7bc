import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** Bundles a worker into a folder: the oldest supported Node does not run TypeScript. @returns The script's path. */
export async function bundleStoreWorker(directory: string, worker = "store-worker"): Promise<string> {
  const outfile = join(directory, `${worker}.mjs`);
  await build({
    entryPoints: [fileURLToPath(new URL(`./${worker}.ts`, import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "silent",
  });
  return outfile;
}

export interface StoreProcess {
  readonly child: ChildProcess;
  /** Resolves when the process has printed this line; rejects where it ends without it. */
  line(wanted: string): Promise<void>;
  /** The exit code, or the signal's name; and all that it wrote. */
  readonly ended: Promise<{ readonly status: number | string; readonly output: string }>;
}

export function startStoreProcess(script: string, ...args: readonly string[]): StoreProcess {
  const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const lines = createInterface({ input: child.stdout });
  child.stdout.on("data", (data) => {
    output += String(data);
  });
  child.stderr.on("data", (data) => {
    output += String(data);
  });
  const ended = once(child, "close").then(([code, signal]) => ({ status: code ?? signal, output }));
  return {
    child,
    ended,
    line: async (wanted) => {
      for await (const line of lines) if (line === wanted) return;
      throw new Error(`the process ended without ${wanted}: ${output}`);
    },
  };
}
