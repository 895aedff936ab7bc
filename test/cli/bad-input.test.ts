import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import { randomIndex } from "../support/random-image.js";
import { type Expected, refused, storeIndex } from "./failure.js";
import { Machine } from "./machine.js";
import { mountSmallDisk, whyNoSmallDisk } from "./small-disk.js";

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.create();
  await machine.putImage("app:1", { layers: 2 });
  expect(await machine.lading(["push", "app:1"])).toMatchObject({ code: 0 });
});
afterEach(async () => {
  await machine.remove();
});

/** All that a command that failed must have left alone: local names, the store's index, the registry's names and tags. */
async function everything(): Promise<unknown> {
  const outputs = await Promise.all(
    [["images", "--json"], ["ls"], ["tags", "-l", "image:app"]].map((args) => machine.lading(args)),
  );
  for (const { code } of outputs) expect(code).toBe(0);
  return { index: await storeIndex(machine.store), outputs: outputs.map(({ stdout }) => stdout) };
}

describe("wrong names", () => {
  it.each<[string[], Expected]>([
    [["push", "app:1", "app:2"], { code: "bad-reference", side: null, exit: 64 }],
    [["push", "APP:1"], { code: "bad-reference", side: null, exit: 64 }],
    [["push", "app:1", "image:app:!"], { code: "bad-reference", side: null, exit: 64 }],
    [["push", "app:1", "image:app:1", "--tag", "a/b"], { code: "bad-reference", side: null, exit: 64 }],
    [["push", "app:1", `image:app@sha256:${"0".repeat(64)}`], { code: "bad-reference", side: "destination", exit: 64 }],
    [["pull", "image:"], { code: "bad-reference", side: null, exit: 64 }],
    [["pull", "image://nowhere/bob/app:1"], { code: "bad-reference", side: null, exit: 64 }],
    [["pull", "image:app@sha256:12"], { code: "bad-reference", side: null, exit: 64 }],
    [["copy", "image:app:1", "app:2"], { code: "bad-reference", side: null, exit: 64 }],
    [["tags", "image:app:1"], { code: "bad-reference", side: null, exit: 64 }],
    [["rm", "image:app"], { code: "usage", side: null, exit: 64 }],
    [["tag", "app:1", "app:"], { code: "bad-reference", side: null, exit: 64 }],
    [["rmi", "a b"], { code: "bad-reference", side: null, exit: 64 }],
    [["psuh", "app:1"], { code: "usage", side: null, exit: 64 }],
    [["push"], { code: "usage", side: null, exit: 64 }],
    [["push", "app:1", "--tga", "2"], { code: "usage", side: null, exit: 64 }],
    [["push", "app:1", "--engine", "rkt"], { code: "usage", side: null, exit: 64 }],
    [["push", "app:1", "--timeout", "soon"], { code: "usage", side: null, exit: 64 }],
    [["push", "app:1", "--limit-rate", "fast"], { code: "usage", side: null, exit: 64 }],
    [["push", "app:1", "--cluster", "nowhere"], { code: "config-invalid", side: null, exit: 78 }],
    [["ls", "--config", "/nowhere.toml"], { code: "config-invalid", side: null, exit: 78 }],
    [["push", "app:1", "--ca-file", "/nowhere.pem"], { code: "config-invalid", side: null, exit: 78 }],
  ])("%j", async (args, expected) => {
    const before = await everything();
    await refused(machine, args, expected);
    expect(await everything()).toEqual(before);
  });
});

describe("an image that is not there", () => {
  beforeEach(async () => {
    const store = new LayoutStore(machine.store, { durability: "fast" });
    await store.tag((await randomIndex(store)).root, "many:1");
    expect(await machine.lading(["push", "many:1"])).toMatchObject({ code: 0 });
  });

  const missing = `sha256:${"0".repeat(64)}`;
  it.each<[string[], Expected]>([
    [["push", "gone:1"], { code: "not-found", side: "source", exit: 72 }],
    [["push", missing, "image:app:2"], { code: "not-found", side: "source", exit: 72 }],
    [["pull", "image:gone:1"], { code: "not-found", side: "source", exit: 72 }],
    [["pull", "image:app:gone"], { code: "not-found", side: "source", exit: 72 }],
    [["pull", `image:app@${missing}`], { code: "not-found", side: "source", exit: 72 }],
    [["pull", "image:many:1", "--platform", "linux/s390x"], { code: "not-found", side: "source", exit: 72 }],
    [["copy", "image:gone:1", "image:app:2"], { code: "not-found", side: "source", exit: 72 }],
    [["digest", "image:app:gone"], { code: "not-found", side: "source", exit: 72 }],
    [["size", "image:gone:1"], { code: "not-found", side: "source", exit: 72 }],
    [["tags", "image:gone"], { code: "not-found", side: "source", exit: 72 }],
    [["rm", "image:app:gone"], { code: "not-found", side: "destination", exit: 72 }],
    [["rmi", "gone:1"], { code: "not-found", side: "source", exit: 72 }],
    [["tag", "gone:1", "app:2"], { code: "not-found", side: "source", exit: 72 }],
    [["save", "gone:1", "-o", "out.tar"], { code: "not-found", side: "source", exit: 72 }],
    [["load", "nowhere.tar"], { code: "not-found", side: "source", exit: 72 }],
    [["import", "nowhere", "base:1"], { code: "not-found", side: "source", exit: 72 }],
  ])("%j", async (args, expected) => {
    const before = await everything();
    await refused(machine, args, expected);
    expect(await everything()).toEqual(before);
    expect(await readdir(machine.home)).not.toContain("out.tar");
  });
});

describe("an engine that is down", () => {
  const down: Expected = { code: "engine-unavailable", side: null, exit: 76 };

  it("DOCKER_HOST names a socket that nobody listens on any more", async () => {
    const path = join(machine.home, "docker.sock");
    await leaveSocket(path);
    const env = { DOCKER_HOST: `unix://${path}` };
    const before = await everything();
    for (const engine of ["docker", "auto"]) {
      const { hint } = await refused(machine, ["push", "app:1", "--engine", engine], down, { env });
      expect(hint).toContain("--engine store");
      await refused(machine, ["pull", "image:app:1", "--engine", engine], down, { env });
      await refused(machine, ["images", "--engine", engine], down, { env });
    }
    expect(await everything()).toEqual(before);
  });

  it("DOCKER_HOST names a socket, a port or a machine that is not there", async () => {
    const hosts = [`unix://${machine.home}/none.sock`, "tcp://127.0.0.1:1", "tcp://engine.invalid:2376"];
    for (const host of hosts) {
      const env = { DOCKER_HOST: host, DOCKER_TLS_VERIFY: host.includes("invalid") ? "1" : "" };
      const { hint } = await refused(machine, ["push", "app:1", "--engine", "auto"], down, { env });
      expect(hint).toContain("--engine store");
    }
    const { hint } = await refused(machine, ["images", "--engine", "podman"], down, {
      env: { CONTAINER_HOST: `unix://${machine.home}/none.sock` },
    });
    expect(hint).toContain("--engine store");
  });

  it("DOCKER_HOST is no address", async () => {
    const env = { DOCKER_HOST: "gopher://engine" };
    await refused(machine, ["images", "--engine", "auto"], { code: "config-invalid", side: null, exit: 78 }, { env });
  });
});

/** A socket file whose process is gone. */
async function leaveSocket(path: string): Promise<void> {
  const { spawnSync } = await import("node:child_process");
  const script = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
  spawnSync(process.execPath, ["-e", script, path]);
}

describe("an archive that is damaged", () => {
  const invalid: Expected = { code: "archive-invalid", side: "source", exit: 65 };
  const corrupt: Expected = { code: "digest-mismatch", side: "source", exit: 65 };

  /** Made on another machine: what this one has already, it would not need the archive for. */
  async function archive(as: "docker-archive" | "oci-archive"): Promise<Buffer> {
    const other = await Machine.create();
    try {
      await other.putImage("big:1", { seed: "big", layers: 3, layerSize: 200_000 });
      expect(await other.lading(["save", "big:1", "--as", as, "-o", "big.tar"])).toMatchObject({ code: 0 });
      return await readFile(join(other.home, "big.tar"));
    } finally {
      await other.remove();
    }
  }

  /** From a file, where it can be read twice, and from a pipe, where it can't. */
  async function isRefused(bytes: Uint8Array, ...expected: Expected[]): Promise<void> {
    const before = await everything();
    await writeFile(join(machine.home, "bad.tar"), bytes);
    await refused(machine, ["load", "bad.tar"], expected[0] ?? invalid);
    await refused(machine, ["load"], expected[1] ?? expected[0] ?? invalid, { input: bytes });
    expect(await everything()).toEqual(before);
  }

  it.each(["docker-archive", "oci-archive"] as const)("%s: cut off", async (as) => {
    const whole = await archive(as);
    await isRefused(whole.subarray(0, Math.floor(whole.length * 0.6)));
    await isRefused(whole.subarray(0, 700));
  });

  it.each(["docker-archive", "oci-archive"] as const)("%s: a layer that is not what it is said to be", async (as) => {
    const whole = await archive(as);
    // Somewhere in the largest files: the layers.
    const at = Math.floor(whole.length / 2);
    whole[at] = (whole[at] ?? 0) ^ 0xff;
    await isRefused(whole, corrupt);
  });

  it("a manifest that is called by another's digest", async () => {
    const whole = await archive("oci-archive");
    const digest =
      /"digest":"sha256:([0-9a-f]{64})"/.exec(whole.toString("latin1", whole.indexOf('"manifests":[')))?.[1] ?? "";
    expect(digest).not.toBe("");
    const other = digest.replace(/^./, (first) => (first === "0" ? "1" : "0"));
    // In the index and as the file's name alike: what it is called and where it is agree, what it is does not.
    await isRefused(replaceAll(whole, digest, other), corrupt);
  });

  it("random bytes, no bytes, and a text", async () => {
    await isRefused(randomBytes(100_000));
    await isRefused(Buffer.alloc(0));
    await isRefused(Buffer.from("<!doctype html><title>404</title>".repeat(100)));
  });

  it("a folder that is no image", async () => {
    await mkdir(join(machine.home, "folder"));
    await refused(machine, ["load", "folder"], invalid);
  });
});

/** Also mends the checksums of tar headers whose name changed. */
function replaceAll(bytes: Buffer, from: string, to: string): Buffer {
  const changed = Buffer.from(bytes.toString("latin1").replaceAll(from, to), "latin1");
  for (let at = 0; at + 512 <= changed.length; at += 512) {
    if (changed.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    changed.fill(0x20, at + 148, at + 156);
    const sum = changed.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    changed.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
  }
  return changed;
}

const noDisk = whyNoSmallDisk();

describe.skipIf(noDisk !== null)(`a full disk${noDisk === null ? "" : ` (skipped: ${noDisk})`}`, () => {
  const full: Expected = { code: "no-space", side: "destination", exit: 74 };

  it("below the store", async () => {
    await machine.putImage("big:1", { seed: "big", layers: 3, layerSize: 4_000_000 });
    expect(await machine.lading(["push", "big:1"])).toMatchObject({ code: 0 });
    expect(await machine.lading(["save", "big:1", "-o", "big.tar"])).toMatchObject({ code: 0 });
    const disk = await mountSmallDisk(join(machine.home, "disk"), "3m");
    const store = join(disk.path, "store");
    try {
      expect(await machine.lading(["pull", "image:app:1", "--store", store])).toMatchObject({ code: 0 });
      const before = await storeIndex(store);
      await refused(machine, ["pull", "image:big:1", "--store", store], full);
      await refused(machine, ["load", "big.tar", "--store", store], full);
      const input = await readFile(join(machine.home, "big.tar"));
      await refused(machine, ["load", "--store", store], full, { input });
      await refused(machine, ["save", "big:1", "-o", join(disk.path, "out.tar")], full);
      expect(await readdir(disk.path)).toEqual(["store"]);
      expect(await storeIndex(store)).toBe(before);
      expect(await machine.lading(["images", "--store", store])).toMatchObject({ code: 0, stdout: "app:1\n" });
      // What was there is still whole, and what is small enough still finds room.
      expect(await machine.lading(["save", "app:1", "--store", store, "-o", "app.tar"])).toMatchObject({ code: 0 });
    } finally {
      await disk.unmount();
    }
  });

  it("that registry and store share has room for one copy, and one is all that they need", async () => {
    await machine.putImage("shared:1", { seed: "shared", layers: 3, layerSize: 1_200_000 });
    const disk = await mountSmallDisk(join(machine.home, "disk"), "3m");
    try {
      const config = join(machine.home, "config.toml");
      const text = `[clusters.local]\nregistryUrl = "http://localhost:5050"\ndata = "${disk.path}/registry"\n`;
      await writeFile(config, text);
      expect(await machine.lading(["push", "shared:1", "--config", config])).toMatchObject({ code: 0 });
      const store = join(disk.path, "store");
      await mkdir(store);
      const pull = await machine.lading(["pull", "image:shared:1", "--config", config, "--store", store]);
      expect(pull, pull.stderr).toMatchObject({ code: 0, stdout: "shared:1\n" });
    } finally {
      await disk.unmount();
    }
  });

  it("below the registry", async () => {
    await machine.putImage("big:1", { seed: "big", layers: 3, layerSize: 4_000_000 });
    const disk = await mountSmallDisk(join(machine.home, "disk"), "3m");
    try {
      const config = join(machine.home, "config.toml");
      const text = `[clusters.local]\nregistryUrl = "http://localhost:5050"\ndata = "${disk.path}/registry"\n`;
      await writeFile(config, text);
      const lading = (...args: string[]) => machine.lading([...args, "--config", config]);
      expect(await lading("push", "app:1")).toMatchObject({ code: 0 });
      await refused(machine, ["push", "big:1", "image:app:1", "--config", config], full);
      await refused(machine, ["push", "big:1", "--config", config], full);
      expect(await lading("tags", "image:app")).toMatchObject({ code: 0, stdout: "1\n" });
      expect(await lading("rmi", "app:1")).toMatchObject({ code: 0 });
      expect(await lading("pull", "image:app:1")).toMatchObject({ code: 0 });
    } finally {
      await disk.unmount();
    }
  });
});
