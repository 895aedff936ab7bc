import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** An engine of our own: its own data, socket and process, all gone after `stop`. */
export interface RunningEngine {
  readonly socketPath: string;
  /** The folder in which everything of it lives. */
  readonly folder: string;
  /** Its process; what works for it are its children. */
  readonly pid: number;
  stop(): Promise<void>;
}

export interface EngineStarter {
  readonly name: string;
  /** Null where it can be started here, else why not. */
  available(): Promise<string | null>;
  /** @param extraArguments For the engine's program, such as a second `-H`. */
  start(extraArguments?: readonly string[]): Promise<RunningEngine>;
}

/** Where the newest tools are installed; `LADING_TOOLS` says otherwise. */
export function toolsFolder(): string {
  return process.env.LADING_TOOLS ?? join(homedir(), ".cache", "lading-tools", "bin");
}

const oldDockerd = "/usr/sbin/dockerd";

/** Docker Engine with the graph driver: Debian's docker.io. */
export const olderDocker: EngineStarter = {
  name: "older Docker (graph driver)",
  available: async () => rootOnly() ?? (await missing(oldDockerd)),
  start: (extra = []) => startDocker(oldDockerd, extra, process.env.PATH ?? ""),
};

/** Docker Engine with the containerd image store. */
export const newestDocker: EngineStarter = {
  name: "newest Docker (containerd store)",
  available: async () =>
    rootOnly() ?? (await missing(join(toolsFolder(), "dockerd"))) ?? (await missing(join(toolsFolder(), "containerd"))),
  // It starts the containerd that it finds on PATH.
  start: (extra = []) =>
    startDocker(join(toolsFolder(), "dockerd"), extra, `${toolsFolder()}${delimiter}${process.env.PATH ?? ""}`),
};

/** The newest Docker Engine with its graph driver, whose export has index.json and plain layers. */
export const newestGraphDriver: EngineStarter = {
  name: "newest Docker (graph driver)",
  available: newestDocker.available,
  start: (extra = []) =>
    newestDocker.start(["--feature", "containerd-snapshotter=false", "--storage-driver", "overlay2", ...extra]),
};

/** Podman's API service. */
export const podman: EngineStarter = {
  name: "Podman",
  available: async () => rootOnly() ?? (await missing("/usr/bin/podman")),
  start: async (extra = []) => {
    const folder = await mkdtemp(join(tmpdir(), "lading-engine-"));
    const socketPath = join(folder, "podman.sock");
    const program = ["--root", join(folder, "root"), "--runroot", join(folder, "run"), ...extra];
    const child = spawn("/usr/bin/podman", [...program, "system", "service", "--time=0", `unix://${socketPath}`], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    return await running(child, folder, socketPath);
  },
};

async function startDocker(program: string, extra: readonly string[], path: string): Promise<RunningEngine> {
  const folder = await mkdtemp(join(tmpdir(), "lading-engine-"));
  const socketPath = join(folder, "docker.sock");
  // So that nothing of the machine's own /etc/docker counts.
  const configFile = join(folder, "daemon.json");
  await writeFile(configFile, "{}");
  const child = spawn(
    program,
    [
      ...["--data-root", join(folder, "data"), "--exec-root", join(folder, "exec"), "-H", `unix://${socketPath}`],
      ...["--pidfile", join(folder, "pid"), "--config-file", configFile],
      ...["--iptables=false", "--ip6tables=false", "--bridge=none"],
      ...extra,
    ],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PATH: path } },
  );
  return await running(child, folder, socketPath);
}

async function running(child: ChildProcess, folder: string, socketPath: string): Promise<RunningEngine> {
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log = `${log}${text}`.slice(-8192);
  });
  const stop = async (): Promise<void> => {
    await stopProcess(child);
    // Docker's own containerd ends with it; a crash would leave it.
    const left = await readFile(join(folder, "exec", "containerd", "containerd.pid"), "utf8").catch(() => "");
    if (/^\d+$/.test(left.trim())) signal(Number(left), "SIGTERM");
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  try {
    await waitFor(
      () => answers(socketPath),
      child,
      () => log,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { socketPath, folder, pid: child.pid ?? 0, stop };
}

/** Ends a process that a test started: asks, waits, then kills. */
export async function stopProcess(child: ChildProcess, patience = 20_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
  });
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), patience);
  await gone;
  clearTimeout(timer);
}

/** Waits until a condition holds, while a process lives. */
export async function waitFor(
  condition: () => Promise<boolean>,
  child: ChildProcess | null,
  log: () => string = () => "",
  patience = 60_000,
): Promise<void> {
  const deadline = performance.now() + patience;
  while (!(await condition())) {
    if (child !== null && (child.exitCode !== null || child.signalCode !== null)) {
      throw new Error(`it ended at its start: ${log()}`);
    }
    if (performance.now() > deadline) throw new Error(`it did not come up in ${patience} ms: ${log()}`);
    await delay(50);
  }
}

/** Whether something listens on a socket or a local port. */
export function answers(address: string | number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = typeof address === "string" ? connect(address) : connect(address, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Takes away what an engine has left mounted below a folder. */
export async function unmountBelow(folder: string): Promise<void> {
  const mounts = await readFile("/proc/self/mounts", "utf8").catch(() => "");
  const targets = mounts
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((target) => target.startsWith(`${folder}/`));
  // Deepest first.
  for (const target of targets.sort((left, right) => right.length - left.length)) spawnSync("umount", ["-l", target]);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone already.
  }
}

function rootOnly(): string | null {
  return process.platform === "linux" && process.getuid?.() === 0 ? null : "engines are started as root on Linux only";
}

async function missing(path: string): Promise<string | null> {
  return await access(path).then(
    () => null,
    () => `${path} is not installed`,
  );
}
