import { readFile, readlink } from "node:fs/promises";
import { hostname } from "node:os";

/** Which process holds something, told apart from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** The host's name, on Linux with the number space of its processes: a container has its own. */
  readonly host: string;
  /** On Linux the boot and the moment of the start; null elsewhere. */
  readonly started: string | null;
}

/** This process. */
export async function identifySelf(): Promise<ProcessIdentity> {
  const namespace = await readlink("/proc/self/ns/pid").catch(() => "");
  return { pid: process.pid, host: `${hostname()} ${namespace}`.trimEnd(), started: await startOf(process.pid) };
}

/**
 * Whether a process is there, as far as it can be known: one on another host counts as alive.
 * @param self The process that asks.
 */
export async function isAlive(identity: ProcessIdentity, self: ProcessIdentity): Promise<boolean> {
  if (identity.host !== self.host) return true;
  try {
    process.kill(identity.pid, 0);
  } catch (error) {
    // EPERM: it is there, and another user's.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  if (identity.started === null) return true;
  const started = await startOf(identity.pid);
  return started === null || started === identity.started;
}

/** Reads what another process wrote down; null where it is no identity. */
export function parseIdentity(value: unknown): ProcessIdentity | null {
  if (typeof value !== "object" || value === null) return null;
  const { pid, host, started } = value as Record<string, unknown>;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0 || typeof host !== "string") return null;
  return { pid, host, started: typeof started === "string" ? started : null };
}

async function startOf(pid: number): Promise<string | null> {
  try {
    const [boot, stat] = await Promise.all([
      readFile("/proc/sys/kernel/random/boot_id", "latin1"),
      readFile(`/proc/${pid}/stat`, "latin1"),
    ]);
    // The second field is the program's name in brackets, and may hold anything; the start is the twentieth after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie runs no more: its parent has just not asked yet how it ended.
    if (fields[0] === "Z") return "ended";
    return `${boot.trim()} ${fields[19]}`;
  } catch {
    return null;
  }
}
