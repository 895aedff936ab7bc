import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { Machine } from "../cli/machine.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { fault } from "./fault.js";
import { nothingLost } from "./nothing-lost.js";
import { tagMap } from "./tag-map.js";

// A push that did not come to its end, and the one after it. Bytes are counted on the wire.

/** Of the file in a layer; what is sent is half of it and a little. */
const layerSize = Number(process.env.LADING_RESUME_LAYER ?? 40_000_000);
/** What lies in buffers between two processes when one dies. */
const inFlight = 8_000_000;

interface Place {
  readonly proxy: FaultProxy;
  /** `127.0.0.1:PORT/team/app` through the proxy. */
  readonly name: string;
  /** `http://127.0.0.1:PORT/team/app` beside it. */
  readonly repository: string;
  readonly folder: string;
}

/** A registry with a folder behind a line that is slow enough to be cut. */
async function place(kind: "own" | "debian", throttle?: number): Promise<Place & { close(): Promise<void> }> {
  const folder = await temporaryFolder();
  const registry =
    kind === "own" ? await startOwnRegistry({ directory: folder }) : await startDockerRegistry(debian ?? "");
  const port = Number(new URL(registry.url).port);
  const proxy = await startFaultProxy({
    host: "127.0.0.1",
    port,
    faults: () => (throttle === undefined ? null : { up: { throttle } }),
  });
  return {
    proxy,
    name: `127.0.0.1:${proxy.port}/team/app`,
    repository: `${registry.url}/team/app`,
    folder,
    async close() {
      await proxy.close();
      await registry.close();
    },
  };
}

const debian = await findDockerRegistry();

/** Ends a child once so many bytes have gone to the registry. */
function endAt(proxy: FaultProxy, bytes: number, signal: NodeJS.Signals) {
  return (child: { kill(signal: NodeJS.Signals): boolean; once(event: "exit", listener: () => void): unknown }) => {
    const timer = setInterval(() => {
      if (proxy.bytes.up < bytes) return;
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
      const machine = await Machine.create();
      const there = await place("own", 400_000_000);
      try {
        const digest = await machine.putImage("app:1", { layers: 1, layerSize });
        const size = await sizeOf(machine, "app:1");
        const first = await machine.lading(["push", "app:1", `${there.name}:1`, "--json"], {
          onStart: endAt(there.proxy, size / 2, signal),
        });
        expect(first.code).toBe(exit);
        expect(await tagMap(there.repository)).toEqual({});
        const [record, ...others] = await records(machine);
        expect(others).toEqual([]);
        expect((await stat(record ?? "")).mode & 0o777).toBe(0o600);
        expect(await readFile(record ?? "", "utf8")).toContain("/blobs/uploads/");
        const before = there.proxy.bytes.up;
        expect(before).toBeLessThan(size);
        const second = await machine.lading(["push", "app:1", `${there.name}:1`, "--json"]);
        expect(second.code, second.stderr).toBe(0);
        expect(JSON.parse(second.stdout).bytesSent).toBeLessThan(size - size / 2 + inFlight);
        expect(there.proxy.bytes.up).toBeLessThan(size + inFlight);
        expect(await records(machine)).toEqual([]);
        return await nothingLost({
          N1: [machine.store, there.folder],
          N2: [there.repository],
          N3: { place: there.repository, before: {}, success: { 1: digest } },
          N4: { repository: there.repository, blobs: [], manifests: ["1", digest] },
          N5: { folders: [there.folder, machine.store] },
          N7: { run: second, exit: 0 },
          N9: { reference: `${new URL(there.repository).host}/team/app:1`, digest },
        });
      } finally {
        await there.close();
        await machine.remove();
      }
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
      const machine = await Machine.create();
      const there = await place("debian", 400_000_000);
      try {
        const digest = await machine.putImage("app:1", { layers: 4, layerSize: 40_000_000 });
        const size = await sizeOf(machine, "app:1");
        const first = await machine.lading(["push", "app:1", `${there.name}:1`, "--json"], {
          onStart: endAt(there.proxy, (size * 3) / 4, "SIGKILL"),
        });
        expect(first.code).toBe(null);
        const broken = (await records(machine)).length;
        const second = await machine.lading(["push", "app:1", `${there.name}:1`, "--json"]);
        expect(second.code, second.stderr).toBe(0);
        expect(broken).toBeGreaterThan(0);
        expect(there.proxy.bytes.up).toBeLessThan(size + broken * (size / 4) + inFlight);
        expect(await records(machine)).toEqual([]);
        return await nothingLost({
          N2: [there.repository],
          N3: { place: there.repository, before: {}, success: { 1: digest } },
          N4: { repository: there.repository, blobs: [], manifests: ["1", digest] },
          N7: { run: second, exit: 0 },
          N9: { reference: `${new URL(there.repository).host}/team/app:1`, digest },
        });
      } finally {
        await there.close();
        await machine.remove();
      }
    },
  );
}

fault(
  "F36",
  "the same push started twice at once, by two processes with one store: each blob is sent once",
  ["N1", "N2", "N3", "N5", "N7", "N9"],
  async () => {
    const machine = await Machine.create();
    const there = await place("own", 100_000_000);
    try {
      const digest = await machine.putImage("app:1", { layers: 2, layerSize });
      const size = await sizeOf(machine, "app:1");
      const push = () => machine.lading(["push", "app:1", `${there.name}:1`, "--json"]);
      const [one, other] = await Promise.all([push(), push()]);
      expect([one.code, other.code], `${one.stderr}${other.stderr}`).toEqual([0, 0]);
      expect(there.proxy.bytes.up).toBeLessThan(size + 1_000_000);
      return await nothingLost({
        N1: [machine.store, there.folder],
        N2: [there.repository],
        N3: { place: there.repository, before: {}, success: { 1: digest } },
        N5: { folders: [there.folder, machine.store] },
        N7: { run: other, exit: 0 },
        N9: { reference: `${new URL(there.repository).host}/team/app:1`, digest },
      });
    } finally {
      await there.close();
      await machine.remove();
    }
  },
);

fault(
  "F36",
  "two processes push the same, and the one that sends is killed: the other goes on from there",
  ["N1", "N2", "N3", "N5", "N7"],
  async () => {
    const machine = await Machine.create();
    const there = await place("own", 100_000_000);
    try {
      const digest = await machine.putImage("app:1", { layers: 1, layerSize });
      const size = await sizeOf(machine, "app:1");
      const push = (onStart = (_child: Parameters<ReturnType<typeof endAt>>[0]) => {}) =>
        machine.lading(["push", "app:1", `${there.name}:1`, "--json"], { onStart });
      const first = push(endAt(there.proxy, size / 2, "SIGKILL"));
      while (there.proxy.bytes.up < size / 8) await new Promise((resolve) => setTimeout(resolve, 2));
      const second = await push();
      expect((await first).code).toBe(null);
      expect(second.code, second.stderr).toBe(0);
      expect(there.proxy.bytes.up).toBeLessThan(size + inFlight);
      return await nothingLost({
        N1: [machine.store, there.folder],
        N2: [there.repository],
        N3: { place: there.repository, before: {}, success: { 1: digest } },
        N5: { folders: [there.folder, machine.store] },
        N7: { run: second, exit: 0 },
      });
    } finally {
      await there.close();
      await machine.remove();
    }
  },
);
