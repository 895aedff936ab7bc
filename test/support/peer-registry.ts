import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createRegistry, listen } from "../../src/server/index.js";
import { findProgram } from "./programs.js";

/** A registry on a port of this machine, over plain HTTP. */
export interface RunningRegistry {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** `127.0.0.1:PORT` */
  readonly authority: string;
  close(): Promise<void>;
}

/** The embedded registry on a free port, in memory or in a folder. */
export async function startOwnRegistry(storage: "memory" | { readonly directory: string }): Promise<RunningRegistry> {
  const registry = createRegistry({ storage });
  const server = await listen(registry, { host: "127.0.0.1", port: 0 });
  return {
    url: `http://127.0.0.1:${new URL(server.url).port}`,
    authority: `127.0.0.1:${new URL(server.url).port}`,
    async close() {
      await server.close();
      await registry.close();
    },
  };
}

/** Debian's docker-registry (distribution v2.8) on a free port, deletes allowed. */
export async function startDockerRegistry(): Promise<RunningRegistry> {
  const program = findProgram("docker-registry");
  if (program === null) throw new Error("docker-registry is not on this machine");
  const folder = await mkdtemp(join(tmpdir(), "lading-docker-registry-"));
  const port = await freePort();
  const config = [
    "version: 0.1",
    "log: { level: error }",
    "storage:",
    `  filesystem: { rootdirectory: ${JSON.stringify(join(folder, "data"))} }`,
    "  delete: { enabled: true }",
    `http: { addr: "127.0.0.1:${port}" }`,
    "",
  ];
  await writeFile(join(folder, "config.yml"), config.join("\n"));
  const child = spawn(program, ["serve", join(folder, "config.yml")], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const ended = once(child, "close");
  const close = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (child.exitCode !== null) break;
    if (await answers(port)) return { url: `http://127.0.0.1:${port}`, authority: `127.0.0.1:${port}`, close };
    await sleep(50);
  }
  await close();
  throw new Error(`docker-registry did not start\n${log}`);
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
