import { readdir, readFile } from "node:fs/promises";

/** What a process and its descendants have used. */
export interface TreeUsage {
  /** Resident now, all together, in bytes. */
  readonly resident: number;
  /** The most that one of them ever had, as the kernel kept it, in bytes. */
  readonly largestPeak: number;
  /** CPU seconds, of those that have ended and were waited for too. */
  readonly cpu: number;
}

/** Clock ticks a second in /proc: Linux has had no other value on any machine that Node runs on. */
const ticks = 100;

/** A process and its descendants, as they are now. Those that end meanwhile count for nothing. */
export async function treeUsage(root: number): Promise<TreeUsage> {
  const pids = await descendants(root);
  const usages = await Promise.all(pids.map(usageOf));
  return {
    resident: usages.reduce((sum, { resident }) => sum + resident, 0),
    largestPeak: Math.max(0, ...usages.map(({ largestPeak }) => largestPeak)),
    cpu: usages.reduce((sum, { cpu }) => sum + cpu, 0),
  };
}

/** Makes the kernel forget the peaks so far, so that a daemon's memory is that of the run alone. */
export async function forgetPeaks(root: number): Promise<void> {
  const { writeFile } = await import("node:fs/promises");
  for (const pid of await descendants(root)) await writeFile(`/proc/${pid}/clear_refs`, "5").catch(() => undefined);
}

/** CPU seconds of the children of this process that have ended and were waited for. */
export async function endedChildrenCpu(): Promise<number> {
  return cpuFields(await readFile("/proc/self/stat", "utf8")).ended;
}

async function descendants(root: number): Promise<readonly number[]> {
  const found = [root];
  for (let at = 0; at < found.length; at += 1) found.push(...(await childrenOf(found[at] ?? 0)));
  return found;
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, "utf8").catch(() => ""));
  return (await Promise.all(lists)).join(" ").split(" ").filter(Boolean).map(Number);
}

async function usageOf(pid: number): Promise<TreeUsage> {
  const [status, stat] = await Promise.all([
    readFile(`/proc/${pid}/status`, "utf8").catch(() => ""),
    readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""),
  ]);
  const kilobytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
  const { own, ended } = cpuFields(stat);
  return { resident: kilobytes("VmRSS") * 1024, largestPeak: kilobytes("VmHWM") * 1024, cpu: own + ended };
}

function cpuFields(stat: string): { readonly own: number; readonly ended: number } {
  // The name of the program, in parentheses, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const seconds = (at: number) => Number(fields[at] ?? 0) / ticks;
  return { own: seconds(11) + seconds(12), ended: seconds(13) + seconds(14) };
}
