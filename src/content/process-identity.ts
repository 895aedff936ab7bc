import { execFile } from "node:child_process";
import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { promisify } from "node:util";

/** Tells a process from every other one, also from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** The machine since it was last started, and the space of process ids in it (a container has its own). */
  readonly host: string;
  /** When the process started, in the system's own unit; null where the system does not tell. */
  readonly started: string | null;
}

/** When a process of this machine started, or null where it is not there or the system does not tell. */
async function startOf(pid: number): Promise<string | null> {
  try {
    if (process.platform === "linux") {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8");
      // The second field is the program's name in brackets, and may hold anything; the start is the twentieth after it.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      // A zombie runs no more: its parent has just not asked yet how it ended.
      return fields[0] === "Z" ? "ended" : (fields[19] ?? null);
    }
    if (process.platform === "win32") return null;
    const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)]);
    return stdout.trim() || null;
  } catch {
    return null;
  }
}

async function hostOf(): Promise<string> {
  if (process.platform !== "linux") return hostname();
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const processes = await readlink("/proc/self/ns/pid").catch(() => "");
  return `${hostname()}/${boot.trim()}/${processes}`;
}

/** This process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  const [host, started] = await Promise.all([hostOf(), startOf(process.pid)]);
  return { pid: process.pid, host, started };
}

/** What is known of another process: of one on another machine nothing. */
export async function livenessOf(other: ProcessIdentity, own: ProcessIdentity): Promise<"alive" | "dead" | "unknown"> {
  if (other.host !== own.host) return isEarlierBoot(other.host, own.host) ? "dead" : "unknown";
  try {
    process.kill(other.pid, 0);
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return "dead";
  }
  if (other.started === null) return "alive";
  const started = await startOf(other.pid);
  return started === null || started === other.started ? "alive" : "dead";
}

/** The same machine before it was started anew: nothing of then lives on. */
function isEarlierBoot(other: string, own: string): boolean {
  const [otherName, otherBoot] = other.split("/");
  const [ownName, ownBoot] = own.split("/");
  return otherName === ownName && !!otherBoot && !!ownBoot && otherBoot !== ownBoot;
}

/** Whether a process may still be there: one of which nothing is known counts as alive. */
export async function isAlive(identity: ProcessIdentity, own: ProcessIdentity): Promise<boolean> {
  return (await livenessOf(identity, own)) !== "dead";
}

/** Reads what another process wrote down; null where it is no identity. */
export function parseIdentity(value: unknown): ProcessIdentity | null {
  if (typeof value !== "object" || value === null) return null;
  const { pid, host, started } = value as Record<string, unknown>;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0 || typeof host !== "string") return null;
  return { pid, host, started: typeof started === "string" ? started : null };
}
