import type { ChildProcess } from "node:child_process";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { Machine, Outcome } from "../cli/machine.js";
import { findDockerRegistry } from "../support/docker-registry.js";
import type { FaultProxy } from "../support/fault-proxy.js";
import { fault } from "./fault.js";
import { nothingLost, type Verdict } from "./nothing-lost.js";
import { type FolderRegistry, imageAt, repository, Stand } from "./stand.js";
import { tagMap } from "./tag-map.js";

// A push that did not come to its end, and the one after it. Bytes are counted on the wire.

/** Of the file in a layer; what is sent is half of it and a little. */
const layerSize = Number(process.env.LADING_RESUME_LAYER ?? 40_000_000);
/** What lies in buffers between two processes when one dies. */
const inFlight = 8_000_000;

const stand = new Stand();
const debian = await findDockerRegistry();

/** An image of its own in a store, and a registry behind a line that is slow enough to be cut. */
async function setting(registry: FolderRegistry, layers: number, throttle: number) {
  const machine = await stand.machine();
  const digest = await machine.putImage("app:1", { layers, layerSize });
  const line = await stand.line(registry.port, () => ({ up: { throttle } }));
  const push = (onStart?: (child: ChildProcess) => void) =>
    machine.lading(["push", "app:1", imageAt(line), "--json"], { onStart });
  return { machine, line, push, digest, size: await sizeOf(machine, "app:1") };
}

/** What holds after the push that came to its end, with an image that nobody had there before. */
async function wholeThere(
  registry: FolderRegistry,
  { machine, digest }: { readonly machine: Machine; readonly digest: string },
  run: Outcome,
): Promise<Verdict> {
  const place = `${registry.url}/${repository}`;
  const folders = registry.folder === null ? null : [machine.store, registry.folder];
  return await nothingLost({
    ...(folders === null ? {} : { N1: folders, N5: { folders } }),
    N2: [place],
    N3: { place, before: {}, success: { 1: digest } },
    N4: { repository: place, blobs: [], manifests: ["1", digest] },
    N7: { run, exit: 0 },
    N9: { reference: imageAt(registry), digest },
  });
}

/** Ends a child once so many bytes have gone to the registry. */
function endAt(line: FaultProxy, bytes: number, signal: NodeJS.Signals) {
  return (child: ChildProcess) => {
    const timer = setInterval(() => {
      if (line.bytes.up < bytes) return;
      clearInterval(timer);
      child.kill(signal);
    }, 2);
    child.once("exit", () => clearInterval(timer));
  };
}

async function sizeOf(machine: Machine, name: string): Promise<number> {
  const { stdout } = await machine.lading(["inspect", "--local", name, "--json"]);
  const { platforms } = JSON.parse(stdout) as { platforms: { layers: { size: number }[] }[] };
  return platforms.flatMap(({ layers }) => layers).reduce((sum, { size }) => sum + size, 0);
}

async function records(machine: Machine): Promise<readonly string[]> {
  return (await readdir(join(machine.store, ".lading", "uploads"))).map((name) =>
    join(machine.store, ".lading", "uploads", name),
  );
}

for (const [signal, exit] of [
  ["SIGKILL", null],
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  fault(
    "F28",
    `a push ended by ${signal} half-way: the next one sends the rest alone`,
    ["N1", "N2", "N3", "N4", "N5", "N7", "N9"],
    async () => {
      const registry = await stand.own();
      const made = await setting(registry, 1, 400_000_000);
      const { machine, line, push, size } = made;
      const first = await push(endAt(line, size / 2, signal));
      expect(first.code).toBe(exit);
      expect(await tagMap(`${registry.url}/${repository}`)).toEqual({});
      const [record, ...others] = await records(machine);
      expect(others).toEqual([]);
      expect((await stat(record ?? "")).mode & 0o777).toBe(0o600);
      expect(await readFile(record ?? "", "utf8")).toContain("/blobs/uploads/");
      expect(line.bytes.up).toBeLessThan(size);
      const second = await push();
      expect(second.code, second.stderr).toBe(0);
      expect(JSON.parse(second.stdout).bytesSent).toBeLessThan(size - size / 2 + inFlight);
      expect(line.bytes.up).toBeLessThan(size + inFlight);
      expect(await records(machine)).toEqual([]);
      return await wholeThere(registry, made, second);
    },
  );
}

// Debian's registry takes back up nothing whose request was cut: the session's URL is good for the length that it was made for. So what
// counts there is that whole blobs are not sent again, and that the broken one is sent once more.
if (debian !== null) {
  fault(
    "F31",
    "a push that is killed, to a registry that forgets what was cut: the next one begins that blob anew, and no other",
    ["N2", "N3", "N4", "N7", "N9"],
    async () => {
      const registry = await stand.debian(debian);
      const made = await setting(registry, 4, 400_000_000);
      const { machine, line, push, size } = made;
      const first = await push(endAt(line, (size * 3) / 4, "SIGKILL"));
      expect(first.code).toBe(null);
      const broken = (await records(machine)).length;
      const second = await push();
      expect(second.code, second.stderr).toBe(0);
      expect(broken).toBeGreaterThan(0);
      expect(line.bytes.up).toBeLessThan(size + broken * (size / 4) + inFlight);
      expect(await records(machine)).toEqual([]);
      return await wholeThere(registry, made, second);
    },
  );
}

fault(
  "F36",
  "the same push started twice at once, by two processes with one store: each blob is sent once",
  ["N1", "N2", "N3", "N4", "N5", "N7", "N9"],
  async () => {
    const registry = await stand.own();
    const made = await setting(registry, 2, 100_000_000);
    const { line, push, size } = made;
    const [one, other] = await Promise.all([push(), push()]);
    expect([one.code, other.code], `${one.stderr}${other.stderr}`).toEqual([0, 0]);
    expect(line.bytes.up).toBeLessThan(size + 1_000_000);
    return await wholeThere(registry, made, other);
  },
);

fault(
  "F36",
  "two processes push the same, and the one that sends is killed: the other goes on from there",
  ["N1", "N2", "N3", "N4", "N5", "N7", "N9"],
  async () => {
    const registry = await stand.own();
    const made = await setting(registry, 1, 100_000_000);
    const { line, push, size } = made;
    const first = push(endAt(line, size / 2, "SIGKILL"));
    while (line.bytes.up < size / 8) await new Promise((resolve) => setTimeout(resolve, 2));
    const second = await push();
    expect((await first).code).toBe(null);
    expect(second.code, second.stderr).toBe(0);
    expect(line.bytes.up).toBeLessThan(size + inFlight);
    return await wholeThere(registry, made, second);
  },
);
