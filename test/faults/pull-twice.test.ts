import type { ChildProcess } from "node:child_process";
import { expect } from "vitest";
import type { Outcome } from "../cli/machine.js";
import type { FaultProxy } from "../support/fault-proxy.js";
import { fault } from "./fault.js";
import { nothingLost } from "./nothing-lost.js";
import { imageAt, Stand } from "./stand.js";
import { whenArrived, whenTold } from "./when-told.js";

// Two processes that pull the same into one store. Bytes are counted on the wire.

const stand = new Stand();
const layerSize = 12_000_000;
/** Of heads, manifests and configs. */
const small = 500_000;
/** What one that is killed has read and not yet written, of two layers. */
const unwritten = 5_000_000;
const pull = (line: FaultProxy) => ["pull", imageAt(line), "app:1", "--json", "--progress", "json"];

async function setting() {
  const registry = await stand.own();
  const machine = await stand.machine();
  const image = await stand.image(registry.url, { layers: 2, layerSize, compressed: false });
  return { registry, machine, image };
}

fault(
  "F36",
  "the same pull started twice at once, by two processes with one store: each blob is fetched once",
  ["N1", "N2", "N3", "N5", "N7", "N9"],
  async () => {
    const { registry, machine, image } = await setting();
    const line = await stand.line(registry.port, () => ({ down: { throttle: 4_000_000 } }));
    const [one, other] = await Promise.all([machine.lading(pull(line)), machine.lading(pull(line))]);
    expect([one.code, other.code], `${one.stderr}${other.stderr}`).toEqual([0, 0]);
    expect(line.bytes.down).toBeLessThan(2 * layerSize + small);
    const received = [one, other].map(({ stdout }) => Number(JSON.parse(stdout).bytesReceived));
    expect(received.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(2 * layerSize + small);
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N3: { place: machine.store, before: { "app:1": image.root.digest } },
      N5: { folders: [machine.store] },
      N7: { run: other, exit: 0 },
      N9: { store: machine.store, name: "app:1", digest: image.root.digest },
    });
  },
);

fault(
  "F18",
  "two processes pull the same, and the one that fetches is killed: the other goes on from there",
  ["N1", "N2", "N3", "N5", "N7", "N9"],
  async () => {
    const { registry, machine, image } = await setting();
    let stands = true;
    // The first one comes to three quarters of each layer and no further.
    const line = await stand.line(registry.port, () => (stands ? { down: { stallAfter: (layerSize * 3) / 4 } } : null));
    let fetching: ChildProcess | null = null;
    let second: Promise<Outcome> | null = null;
    const first = await machine.lading(pull(line), {
      onStart: whenArrived(0.5, (child) => {
        fetching = child;
        const waits = whenTold(
          ({ type }) => type === "warning",
          () => {
            stands = false;
            fetching?.kill("SIGKILL");
          },
        );
        second = machine.lading(pull(line), { onStart: waits });
      }),
    });
    expect(first.code, first.stderr).toBe(null);
    const after = await (second as Promise<Outcome> | null);
    if (after === null) throw new Error("the first pull ended before the second one began");
    expect(after.code, after.stderr).toBe(0);
    expect(line.bytes.down).toBeLessThan(2 * layerSize + unwritten);
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N3: { place: machine.store, before: { "app:1": image.root.digest } },
      N5: { folders: [machine.store] },
      N7: { run: after, exit: 0 },
      N9: { store: machine.store, name: "app:1", digest: image.root.digest },
    });
  },
);
