/** The ways to an engine that is not behind the usual socket: TLS, ssh, a context, and Podman without a service. */
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryStore } from "../../src/content/memory.js";
import { type DetectOptions, detectEngine } from "../../src/engines/detect.js";
import type { DetectedEngine, LocalEngine } from "../../src/engines/engine.js";
import { StoreEngine } from "../../src/engines/store.js";
import { LocalImage } from "../../src/image/local-image.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { makeCertificates } from "../support/certificates.js";
import { olderDocker, podman, type RunningEngine, unmountBelow } from "../support/engines.js";
import { randomImage } from "../support/random-image.js";
import { freePort, type RunningSshd, sshdAvailable, startSshd } from "../support/sshd.js";
import { validateImage } from "../support/validate-image.js";

const dockerReason = await olderDocker.available();
const podmanReason = await podman.available();
const sshReason = await sshdAvailable();

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "lading-access-"));
});
afterAll(async () => {
  // Podman leaves its storage mounted for the next one.
  await unmountBelow(home);
  await rm(home, { recursive: true, force: true });
});

async function detect(env: Record<string, string>, more: Partial<DetectOptions> = {}): Promise<DetectedEngine> {
  return await detectEngine({
    engine: "auto",
    env: { HOME: home, PATH: process.env.PATH, ...env },
    platform: process.platform,
    homeDirectory: home,
    store: async () => new StoreEngine(new MemoryStore()),
    ...more,
  });
}

/** In and out again, several megabytes: headers, bodies both ways, and more than one connection. */
async function roundTrip(engine: LocalEngine, seed: string): Promise<void> {
  const from = new MemoryStore();
  const image = await randomImage(from, { seed, format: "docker", layers: 2, layerSize: 3_000_000 });
  const local = new LocalImage("round-trip", seed);
  const { id } = await engine.importImage(image.root, { from, names: [local], platform: null });
  expect(id).toBe(image.config.descriptor.digest);
  const into = new MemoryStore();
  let root: Descriptor | null = null;
  for await (const descriptor of engine.exportImage(local, { into, platform: null, format: "docker" }))
    root = descriptor;
  if (root === null) throw new Error("nothing came");
  expect((await validateImage(into, root)).digests).toContain(id);
  await engine.remove(local, { force: false });
  expect(await engine.inspect(local)).toBeNull();
}

async function tryEngine(found: DetectedEngine, kind: string, seed: string): Promise<void> {
  try {
    expect(found.kind).toBe(kind);
    await roundTrip(found.engine, seed);
  } finally {
    await found.engine.close();
  }
}

describe.skipIf(dockerReason !== null)(`Docker${dockerReason === null ? "" : ` (${dockerReason})`}`, () => {
  let docker: RunningEngine;
  let certificates: Awaited<ReturnType<typeof makeCertificates>>;
  let tlsPort: number;
  let plainPort: number;

  beforeAll(async () => {
    certificates = await makeCertificates(join(home, "tls"));
    // One that speaks TLS only, and another one in plain text on loopback.
    [tlsPort, plainPort] = [await freePort(), await freePort()];
    const { serverFolder } = certificates;
    docker = await olderDocker.start([
      ...["-H", `tcp://127.0.0.1:${tlsPort}`, "--tlsverify"],
      ...["--tlscacert", join(serverFolder, "ca.pem")],
      ...["--tlscert", join(serverFolder, "cert.pem"), "--tlskey", join(serverFolder, "key.pem")],
    ]);
  });
  afterAll(async () => {
    await docker?.stop();
  });

  const tls = (folder: string): Record<string, string> => ({
    DOCKER_HOST: `tcp://127.0.0.1:${tlsPort}`,
    DOCKER_TLS_VERIFY: "1",
    DOCKER_CERT_PATH: folder,
  });

  it("is reached over TLS with a client certificate", async () => {
    await tryEngine(await detect(tls(certificates.clientFolder)), "docker", "tls");
  });

  it("is refused without a client certificate, under a wrong authority, and in plain text", async () => {
    const bare = join(home, "bare");
    await mkdir(bare, { recursive: true });
    await cp(join(certificates.clientFolder, "ca.pem"), join(bare, "ca.pem"));
    await expect(detect(tls(bare))).rejects.toMatchObject({ code: "tls" });
    const strangers = await makeCertificates(join(home, "strangers"));
    await expect(detect(tls(strangers.clientFolder))).rejects.toMatchObject({ code: "tls" });
    await expect(detect({ DOCKER_HOST: `tcp://127.0.0.1:${tlsPort}` })).rejects.toMatchObject({
      code: expect.stringMatching(/^(tls|engine-unavailable)$/),
    });
    await expect(detect({ DOCKER_HOST: `tcp://127.0.0.1:${plainPort}` })).rejects.toMatchObject({
      code: "engine-unavailable",
    });
  });

  it("is reached through a docker context, with the certificates in it", async () => {
    const config = join(home, "contexts-config");
    const id = createHash("sha256").update("lab").digest("hex");
    const meta = join(config, "contexts", "meta", id);
    await mkdir(meta, { recursive: true });
    const endpoint = { Host: `tcp://127.0.0.1:${tlsPort}`, SkipTLSVerify: false };
    await writeFile(join(meta, "meta.json"), JSON.stringify({ Name: "lab", Endpoints: { docker: endpoint } }));
    const files = join(config, "contexts", "tls", id, "docker");
    await cp(certificates.clientFolder, files, { recursive: true });
    await writeFile(join(config, "config.json"), JSON.stringify({ currentContext: "lab" }));
    await tryEngine(await detect({ DOCKER_CONFIG: config }), "docker", "context");
  });

  describe.skipIf(sshReason !== null)(`over ssh${sshReason === null ? "" : ` (${sshReason})`}`, () => {
    let sshd: RunningSshd;
    beforeAll(async () => {
      sshd = await startSshd();
    });
    afterAll(async () => {
      await sshd?.stop();
    });
    const path = (): string => `${sshd.binFolder}${delimiter}${process.env.PATH}`;

    it("is reached", async () => {
      const address = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${docker.socketPath}`;
      await tryEngine(await detect({ DOCKER_HOST: address, PATH: path() }), "docker", "ssh");
    });

    it("is engine-unavailable where it does not answer there, or nobody may log in", async () => {
      const nothing = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${home}/none.sock`;
      const stranger = `ssh://nobody-here@127.0.0.1:${sshd.port}${docker.socketPath}`;
      for (const host of [nothing, stranger]) {
        await expect(detect({ DOCKER_HOST: host, PATH: path() })).rejects.toMatchObject({
          code: "engine-unavailable",
          hint: expect.stringContaining("--engine store"),
        });
      }
    });
  });

  it("that goes away is engine-unavailable from then on", async () => {
    const { engine } = await detect({ DOCKER_HOST: `unix://${docker.socketPath}` });
    await engine.list();
    await docker.stop();
    await expect(engine.list()).rejects.toMatchObject({ code: "engine-unavailable" });
    await expect(engine.inspect(new LocalImage("x"))).rejects.toMatchObject({ code: "engine-unavailable" });
    await engine.close();
  });
});

describe.skipIf(podmanReason !== null)(
  `Podman without a service${podmanReason === null ? "" : ` (${podmanReason})`}`,
  () => {
    it("is started on demand and stopped at the end", async () => {
      const folder = join(home, "podman");
      const temporary = join(home, "tmp");
      await mkdir(temporary, { recursive: true });
      const podmanArguments = ["--root", join(folder, "root"), "--runroot", join(folder, "run")];
      const before = new Set(await services());
      const found = await detect({ TMPDIR: temporary }, { engine: "podman", podmanArguments });
      const started = (await services()).filter((pid) => !before.has(pid));
      expect(started).toHaveLength(1);
      await tryEngine(found, "podman", "demand");
      expect((await services()).filter((pid) => started.includes(pid))).toEqual([]);
      await expect(found.engine.list()).rejects.toMatchObject({ code: "closed" });
      // A second engine on the same storage starts anew.
      await tryEngine(await detect({}, { engine: "podman", podmanArguments }), "podman", "again");
    });
  },
);

const podmanOverSsh = podmanReason ?? sshReason;
describe.skipIf(podmanOverSsh !== null)(`Podman over ssh${podmanOverSsh === null ? "" : ` (${podmanOverSsh})`}`, () => {
  it("is reached through CONTAINER_HOST and through a connection", async () => {
    const [service, sshd] = await Promise.all([podman.start(), startSshd()]);
    try {
      const address = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${service.socketPath}`;
      const PATH = `${sshd.binFolder}${delimiter}${process.env.PATH}`;
      await tryEngine(await detect({ CONTAINER_HOST: address, PATH }), "podman", "podman-ssh");
      const config = join(home, "podman-config");
      await mkdir(join(config, "containers"), { recursive: true });
      const connection = { Default: "other", Connections: { other: { URI: "ssh://x" }, lab: { URI: address } } };
      const file = join(config, "containers", "podman-connections.json");
      await writeFile(file, JSON.stringify({ Connection: connection }));
      const env = { CONTAINER_CONNECTION: "lab", XDG_CONFIG_HOME: config, PATH };
      await tryEngine(await detect(env), "podman", "podman-connection");
    } finally {
      await Promise.all([service.stop(), sshd.stop()]);
    }
  });
});

/** The processes of `podman system service` that Lading started. */
async function services(): Promise<readonly string[]> {
  const { readFile } = await import("node:fs/promises");
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line.includes("lading-podman-") && line.includes("service")) found.push(pid);
  }
  return found;
}
