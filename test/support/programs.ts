import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { toolsFolder } from "./engines.js";

/** The path of a program on PATH or among the tools, or null. PATH goes first, so that `dockerd` is Debian's. */
export function findProgram(name: string): string | null {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin", toolsFolder()];
  for (const folder of folders) {
    if (folder === "") continue;
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** Why a suite can't run here, or null. */
export function missingPrograms(programs: readonly string[]): string | null {
  const missing = programs.filter((program) => findProgram(program) === null);
  return missing.length === 0 ? null : `${missing.join(", ")} not on this machine`;
}

/** The suite's name, with the reason where it is skipped: the reporter prints it. */
export function suiteName(name: string, reason: string | null): string {
  return reason === null ? name : `${name} (skipped: ${reason})`;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  /** ms. @default 120000 */
  readonly timeout?: number;
}

export interface RunResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; never rejects for what the program does. */
export function runProgram(name: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const path = name.includes("/") ? name : findProgram(name);
  if (path === null) return Promise.reject(new Error(`${name} is not on this machine`));
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
      timeout: options.timeout ?? 120_000,
      killSignal: "SIGKILL",
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

/** Runs a program that has to succeed; resolves with its trimmed stdout. */
export async function output(name: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await runProgram(name, args, options);
  if (status !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${status}\n${stdout}${stderr}`);
  return stdout.trim();
}
