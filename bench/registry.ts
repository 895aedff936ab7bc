import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { makeCertificates } from "../test/support/certificates.js";
import { answers, stopProcess, waitFor } from "../test/support/engines.js";
import { findProgram } from "../test/support/programs.js";
import type { World } from "./world.js";

/** A registry in a process of its own, with a folder of its own. */
export interface BenchRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** The authority of its certificate; null for plain http. */
  readonly ca: string | null;
  readonly pid: number;
}

export interface RegistryKind {
  readonly name: string;
  readonly ours: boolean;
  /** Whether it is on this machine. */
  readonly here: boolean;
  command(place: {
    readonly folder: string;
    readonly port: number;
    readonly world: World;
    readonly tls: Tls | null;
  }): Promise<{
    readonly program: string;
    readonly args: readonly string[];
  }>;
}

interface Tls {
  readonly certificate: string;
  readonly key: string;
}

const distribution = (name: string, program: string): RegistryKind => ({
  name,
  ours: false,
  here: findProgram(program) !== null,
  async command({ folder, port, tls }) {
    const config = {
      version: 0.1,
      log: { level: "error", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}`, ...(tls === null ? {} : { tls }) },
    };
    await writeFile(join(folder, "config.yml"), JSON.stringify(config));
    return { program: findProgram(program) ?? program, args: ["serve", join(folder, "config.yml")] };
  },
});

export const distributionV2 = distribution("distribution v2", "docker-registry");
export const distributionV3 = distribution("distribution v3", "registry");

export const embedded: RegistryKind = {
  name: "lading serve",
  ours: true,
  here: true,
  async command({ folder, port, world }) {
    const args = ["serve", "--data", join(folder, "data"), "--port", String(port)];
    return { program: process.execPath, args: [world.program, ...args] };
  },
};

/** What pushes go to, of those that are here: the newest one. */
export const usualRegistry = (): RegistryKind => [distributionV3, distributionV2].find(({ here }) => here) ?? embedded;

export interface RegistryOptions {
  readonly tls?: boolean;
}

/** Starts a fresh, empty registry; after `stop` nothing of it is left. */
export async function startRegistry(
  world: World,
  kind: RegistryKind,
  { tls = false }: RegistryOptions = {},
): Promise<BenchRegistry & { stop(): Promise<void> }> {
  const folder = await mkdtemp(join(world.folder, "registry-"));
  const port = await freePort();
  const certificates = tls ? await makeCertificates(join(folder, "certificates")) : null;
  const files = (at: string): Tls => ({ certificate: join(at, "cert.pem"), key: join(at, "key.pem") });
  const place = { folder, port, world, tls: certificates === null ? null : files(certificates.serverFolder) };
  const { program, args } = await kind.command(place);
  const env = { PATH: process.env.PATH ?? "", OTEL_TRACES_EXPORTER: "none", ...(await world.environment()) };
  const child: ChildProcess = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env });
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log = `${log}${text}`.slice(-4096);
  });
  const stop = async () => {
    await stopProcess(child);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  try {
    await waitFor(
      () => answers(port),
      child,
      () => log,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const ca = certificates === null ? null : join(certificates.serverFolder, "ca.pem");
  return { host: `127.0.0.1:${port}`, ca, pid: child.pid ?? 0, stop };
}

/** A registry for the length of a call. */
export async function withRegistry<T>(
  world: World,
  kind: RegistryKind,
  use: (registry: BenchRegistry) => Promise<T>,
  options: RegistryOptions = {},
): Promise<T> {
  const registry = await startRegistry(world, kind, options);
  try {
    return await use(registry);
  } finally {
    await registry.stop();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
