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
      // the second field is the program's name in brackets, which may hold anything
      return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
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
    // EPERM: it is there, and somebody else's
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
