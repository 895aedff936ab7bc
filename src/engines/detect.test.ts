/** Every way to find an engine, and every way not to: long because it is one table of cases. */
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryStore } from "../content/memory.js";
import { isLadingError, type LadingError } from "../errors.js";
import { type DetectOptions, detectEngine } from "./detect.js";
import type { DetectedEngine } from "./engine.js";
import { StoreEngine } from "./store.js";

let home: string;
let runtime: string;
const servers: Server[] = [];
const detected: DetectedEngine[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "lading-home-"));
  runtime = join(home, "run");
});
afterEach(async () => {
  for (const { engine } of detected.splice(0)) await engine.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await rm(home, { recursive: true, force: true });
});

type Kind = "docker" | "podman";

/** A fake engine that answers who it is. */
async function serve(path: string, kind: Kind = "docker"): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  const libpod = kind === "podman" ? { "Libpod-Api-Version": "4.3.1" } : {};
  const server = createServer((_request, response) => {
    response.writeHead(200, { "Api-Version": "1.41", ...libpod }).end("OK");
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

/** A socket that nobody listens on any more. */
async function leaveDeadSocket(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  const { spawnSync } = await import("node:child_process");
  spawnSync(process.execPath, ["-e", script]);
}

async function detect(env: Record<string, string> = {}, more: Partial<DetectOptions> = {}): Promise<DetectedEngine> {
  const found = await detectEngine({
    engine: "auto",
    env: { HOME: home, PATH: join(home, "bin"), ...env },
    platform: "linux",
    homeDirectory: home,
    uid: 4_000_000,
    store: async () => new StoreEngine(new MemoryStore()),
    ...more,
  });
  detected.push(found);
  return found;
}

async function failure(env: Record<string, string> = {}, more: Partial<DetectOptions> = {}): Promise<LadingError> {
  try {
    await detect(env, more);
  } catch (error) {
    if (isLadingError(error)) return error;
    throw error;
  }
  throw new Error("an engine was found");
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, JSON.stringify(value));
}

async function writeContext(name: string, endpoint: unknown): Promise<void> {
  const id = createHash("sha256").update(name).digest("hex");
  await writeJson(join(home, ".docker/contexts/meta", id, "meta.json"), {
    Name: name,
    Endpoints: { docker: endpoint },
  });
}

describe("auto", () => {
  it("takes the store where nothing else is, and says what it looked at", async () => {
    const { kind, reason, tried } = await detect();
    expect(kind).toBe("store");
    expect(reason).not.toBe("");
    expect(new Set(tried.map((attempt) => attempt.kind))).toEqual(new Set(["docker", "podman", "store"]));
    expect(tried.every((attempt) => attempt.reason !== "")).toBe(true);
  });

  it.each([
    ".docker/run/docker.sock",
    ".docker/desktop/docker.sock",
    ".colima/default/docker.sock",
    ".rd/docker.sock",
    ".orbstack/run/docker.sock",
    "run/docker.sock",
  ])("finds Docker at ~/%s", async (path) => {
    await serve(join(home, path));
    const { kind, reason } = await detect({ XDG_RUNTIME_DIR: runtime });
    expect(kind).toBe("docker");
    expect(reason).toContain(path);
  });

  it("finds Podman's socket where Docker is absent", async () => {
    await serve(join(runtime, "podman/podman.sock"), "podman");
    expect((await detect({ XDG_RUNTIME_DIR: runtime })).kind).toBe("podman");
  });

  it("prefers Docker to Podman", async () => {
    await serve(join(runtime, "docker.sock"));
    await serve(join(runtime, "podman/podman.sock"), "podman");
    expect((await detect({ XDG_RUNTIME_DIR: runtime })).kind).toBe("docker");
    expect((await detect({ XDG_RUNTIME_DIR: runtime }, { engine: "podman" })).kind).toBe("podman");
  });

  it("sees that it is Podman who answers at DOCKER_HOST", async () => {
    const path = await serve(join(home, "p.sock"), "podman");
    const { kind, engine } = await detect({ DOCKER_HOST: `unix://${path}` });
    expect([kind, engine.kind]).toEqual(["podman", "podman"]);
  });

  it("takes another socket of Docker where one is dead", async () => {
    await leaveDeadSocket(join(home, ".colima/default/docker.sock"));
    await serve(join(runtime, "docker.sock"));
    expect((await detect({ XDG_RUNTIME_DIR: runtime })).kind).toBe("docker");
  });
});

describe("an engine that is there and does not answer is no reason to take another one", () => {
  const expectUnavailable = (error: LadingError): void => {
    expect(error.code).toBe("engine-unavailable");
    expect(error.hint).toContain("--engine store");
  };

  it("for DOCKER_HOST", async () => {
    await serve(join(runtime, "podman/podman.sock"), "podman");
    expectUnavailable(await failure({ DOCKER_HOST: `unix://${home}/none.sock`, XDG_RUNTIME_DIR: runtime }));
  });

  it("for a port that nobody listens on", async () => {
    const closed = createTcpServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const { port } = closed.address() as { port: number };
    await new Promise((resolve) => closed.close(resolve));
    expectUnavailable(await failure({ DOCKER_HOST: `tcp://127.0.0.1:${port}` }));
  });

  it("for a dead socket of Docker's", async () => {
    await leaveDeadSocket(join(runtime, "docker.sock"));
    await serve(join(runtime, "podman/podman.sock"), "podman");
    expectUnavailable(await failure({ XDG_RUNTIME_DIR: runtime }));
  });

  it("for a dead socket of Podman's", async () => {
    await leaveDeadSocket(join(runtime, "podman/podman.sock"));
    expectUnavailable(await failure({ XDG_RUNTIME_DIR: runtime }));
  });

  it("for CONTAINER_HOST", async () => {
    expectUnavailable(await failure({ CONTAINER_HOST: `unix://${home}/none.sock` }));
  });

  it("for a context", async () => {
    await writeContext("lab", { Host: `unix://${home}/none.sock` });
    expectUnavailable(await failure({ DOCKER_CONTEXT: "lab" }));
  });

  it("for a podman that can't start its service", async () => {
    await mkdir(join(home, "bin"));
    await writeFile(join(home, "bin/podman"), "#!/bin/sh\necho no user namespaces >&2\nexit 125\n");
    await chmod(join(home, "bin/podman"), 0o755);
    const error = await failure();
    expectUnavailable(error);
    expect(error.message).toContain("no user namespaces");
  });

  it("but --engine store works all the same", async () => {
    const found = await detect({ DOCKER_HOST: `unix://${home}/none.sock` }, { engine: "store" });
    expect(found.kind).toBe("store");
  });
});

describe("an engine that was asked for and is absent", () => {
  it.each(["docker", "podman"] as const)("is engine-unavailable: %s", async (engine) => {
    const error = await failure({}, { engine });
    expect(error.code).toBe("engine-unavailable");
    expect(error.hint).toContain("--engine store");
    expect(error.message).toContain(engine === "docker" ? "DOCKER_HOST is not set" : "CONTAINER_HOST is not set");
    expect(error.message).not.toContain("\n");
  });
});

describe("contexts", () => {
  it("are followed: DOCKER_CONTEXT", async () => {
    const path = await serve(join(home, "c.sock"));
    await writeContext("lab", { Host: `unix://${path}` });
    const { kind, reason } = await detect({ DOCKER_CONTEXT: "lab" });
    expect(kind).toBe("docker");
    expect(reason).toContain("lab");
  });

  it("are followed: currentContext of config.json, in DOCKER_CONFIG", async () => {
    const path = await serve(join(home, "c.sock"));
    await writeContext("../lab", { Host: `unix://${path}` });
    await writeJson(join(home, ".docker/config.json"), { currentContext: "../lab", auths: {} });
    expect((await detect({ DOCKER_CONFIG: join(home, ".docker") })).kind).toBe("docker");
  });

  it("give way to DOCKER_HOST and to the name default", async () => {
    const path = await serve(join(home, "h.sock"));
    await writeContext("lab", { Host: `unix://${home}/none.sock` });
    expect((await detect({ DOCKER_HOST: `unix://${path}`, DOCKER_CONTEXT: "lab" })).kind).toBe("docker");
    await writeJson(join(home, ".docker/config.json"), { currentContext: "lab" });
    expect((await detect({ DOCKER_CONTEXT: "default" })).kind).toBe("store");
  });

  it("that do not exist are config-invalid", async () => {
    expect((await failure({ DOCKER_CONTEXT: "lab" })).code).toBe("config-invalid");
  });

  it("in a broken config.json are config-invalid, without a word of what is in it", async () => {
    await mkdir(join(home, ".docker"));
    await writeFile(join(home, ".docker/config.json"), '{"auths":{"x":{"auth":"canary"}}');
    const error = await failure();
    expect(error.code).toBe("config-invalid");
    expect(JSON.stringify(error)).not.toContain("canary");
  });
});

describe("podman connections", () => {
  it("are followed: the default of podman-connections.json", async () => {
    const path = await serve(join(home, "p.sock"), "podman");
    const connection = { Default: "vm", Connections: { vm: { URI: `unix://${path}`, Identity: "/k" } } };
    await writeJson(join(home, ".config/containers/podman-connections.json"), { Connection: connection });
    expect((await detect()).kind).toBe("podman");
  });

  it("are followed: CONTAINER_CONNECTION and containers.conf", async () => {
    const path = await serve(join(home, "p.sock"), "podman");
    const conf = join(home, ".config/containers/containers.conf");
    await mkdir(dirname(conf), { recursive: true });
    await writeFile(conf, `[engine.service_destinations.lab]\nuri = "unix://${path}"\n`);
    expect((await detect()).kind).toBe("store");
    expect((await detect({ CONTAINER_CONNECTION: "lab" })).kind).toBe("podman");
    expect((await failure({ CONTAINER_CONNECTION: "other" })).code).toBe("config-invalid");
  });
});

describe("refused before anything is dialled", () => {
  it.each([
    ["tcp://192.0.2.1:2375", "unsafe-url"],
    ["ssh://-oProxyCommand=touch%20x", "config-invalid"],
    ["ssh://host/$(touch x)", "config-invalid"],
    ["nonsense", "config-invalid"],
  ])("DOCKER_HOST=%s", async (host, code) => {
    expect((await failure({ DOCKER_HOST: host })).code).toBe(code);
  });

  it("an aborted call", async () => {
    const signal = AbortSignal.abort(new Error("no"));
    expect((await failure({}, { signal })).code).toBe("cancelled");
  });
});

describe("ssh", () => {
  it("is the program on PATH, with exactly these arguments, and never one of the current folder", async () => {
    const path = await serve(join(home, "remote.sock"));
    await mkdir(join(home, "bin"));
    // Stands for the other machine: connects to the socket, and writes down how it was called.
    const relay = `#!${process.execPath}
require("fs").writeFileSync(${JSON.stringify(join(home, "argv.json"))}, JSON.stringify(process.argv.slice(2)));
const socket = require("net").connect(${JSON.stringify(path)});
process.stdin.pipe(socket).pipe(process.stdout);
`;
    await writeFile(join(home, "bin/ssh"), relay);
    await chmod(join(home, "bin/ssh"), 0o755);
    const { kind } = await detect({ DOCKER_HOST: "ssh://bob@lab:2222" });
    expect(kind).toBe("docker");
    const { readFile } = await import("node:fs/promises");
    expect(JSON.parse(await readFile(join(home, "argv.json"), "utf8"))).toEqual([
      ...["-T", "-o", "ConnectTimeout=30", "-l", "bob", "-p", "2222", "--", "lab", "docker", "system", "dial-stdio"],
    ]);
    const error = await failure({ DOCKER_HOST: "ssh://lab", PATH: ".:" });
    expect(error.code).toBe("engine-unavailable");
  });

  it("that fails is engine-unavailable with what it said", async () => {
    await mkdir(join(home, "bin"));
    await writeFile(join(home, "bin/ssh"), "#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n");
    await chmod(join(home, "bin/ssh"), 0o755);
    const error = await failure({ DOCKER_HOST: "ssh://lab" });
    expect(error.code).toBe("engine-unavailable");
    expect(error.message).toContain("Permission denied");
  });
});
