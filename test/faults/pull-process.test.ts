import { writeFileSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { failureOf } from "../cli/failure.js";
import type { Machine } from "../cli/machine.js";
import { mountSmallDisk, whyNoSmallDisk } from "../cli/small-disk.js";
import type { RandomImage } from "../support/random-image.js";
import { fault } from "./fault.js";
import { faultyLading } from "./faulty-process.js";
import { leftBehind, sweptAfterAWeek } from "./left-behind.js";
import { nothingLost } from "./nothing-lost.js";
import { randomRounds, seeded } from "./seeded.js";
import { type FolderRegistry, imageAt, repository, Stand } from "./stand.js";
import { storedBlobs } from "./stored-blobs.js";
import { tagMap } from "./tag-map.js";
import { whenArrived } from "./when-told.js";

// What happens to the process that pulls, and to its disk: the built command line, on the embedded registry.

const stand = new Stand();
const pull = (registry: { readonly url: string }) => ["pull", imageAt(registry), "app:1", "--json"];

/** One layer that is written in several batches, and two that are not. */
async function setting(): Promise<{ registry: FolderRegistry; image: RandomImage; machine: Machine }> {
  const registry = await stand.own();
  const machine = await stand.machine();
  return {
    registry,
    machine,
    image: await stand.image(registry.url, { layers: 3, layerSize: 2_500_000, compressed: false }),
  };
}

/** Kills a pull at a point, looks at what is visible, and lets the next run finish. @returns At which point it died. */
async function killedPull(
  { registry, image, machine }: Awaited<ReturnType<typeof setting>>,
  kill: string,
): Promise<string | null> {
  const { report, code } = await faultyLading(machine, pull(registry), { kill });
  const success = { "app:1": image.root.digest };
  await nothingLost({ N1: [machine.store], N2: [machine.store], N3: { place: machine.store, before: {}, success } });
  const there = new Set((await storedBlobs(machine.store)).map(({ digest }) => digest));
  const { partials } = await leftBehind(machine.store);
  const sizes = new Map<string, number>();
  for (const file of partials) {
    const digest = `sha256:${/sha256-([0-9a-f]{64})/.exec(file)?.[1]}`;
    sizes.set(digest, Math.max(sizes.get(digest) ?? 0, (await stat(join(machine.store, file))).size));
  }
  const before = registry.requests.length;
  const again = await machine.lading(pull(registry));
  expect(again, again.stderr).toMatchObject({ code: 0 });
  // Nothing that was whole is asked for again, and of what had begun only the rest.
  for (const { line, range } of registry.requests.slice(before)) {
    const digest = new RegExp(`^GET /v2/${repository}/blobs/(.+)$`).exec(line)?.[1];
    if (digest === undefined) continue;
    expect(there.has(digest), `${digest} was there when the process was killed at ${kill}`).toBe(false);
    const size = sizes.get(digest) ?? 0;
    if (size > 0) expect(range, `${digest} had ${size} bytes at ${kill}`).toBe(`bytes=${size}-`);
  }
  if (report.killed === null) expect(code).toBe(0);
  return report.killed;
}

async function wholeAgain({ image, machine }: Awaited<ReturnType<typeof setting>>) {
  // What a killed process leaves of small files goes when it is old.
  await sweptAfterAWeek(machine.store);
  return await nothingLost({
    N1: [machine.store],
    N2: [machine.store],
    N3: { place: machine.store, before: { "app:1": image.root.digest } },
    N5: { folders: [machine.store] },
    N9: { store: machine.store, name: "app:1", digest: image.root.digest },
  });
}

for (const point of [
  "response GET manifest 1",
  "response GET blob 2",
  "rename layout 1",
  "rename state 1",
  "open partial 1",
  "write partial 2",
  "after write partial 4",
  "sync partial 1",
  "rename blob 1",
  "after rename blob 2",
  "sync folder 2",
  "unlink state 1",
  "rename blob 4",
  "rename index 1",
  "after rename index 1",
]) {
  fault("F18", `killed at "${point}", and run again`, ["N1", "N2", "N3", "N5", "N9"], async () => {
    const made = await setting();
    expect(await killedPull(made, point)).toBe(point);
    return await wholeAgain(made);
  });
}

if (randomRounds > 0) {
  fault(
    "F18",
    `killed at ${randomRounds} random steps, and run again each time`,
    ["N1", "N2", "N3", "N5", "N9"],
    async () => {
      const made = await setting();
      const { report } = await faultyLading(made.machine, pull(made.registry));
      let verdict = await wholeAgain(made);
      await seeded("F18", randomRounds, async (chance) => {
        await rm(made.machine.store, { recursive: true });
        expect(await killedPull(made, `step ${1 + chance.below(report.steps)}`)).not.toBeNull();
        verdict = await wholeAgain(made);
      });
      return verdict;
    },
    60_000 + randomRounds * 60_000,
  );
}

fault("F19", "SIGINT at the half of a layer", ["N3", "N5", "N7"], async () => {
  const registry = await stand.own();
  const machine = await stand.machine();
  const image = await stand.image(registry.url, { layers: 1, layerSize: 12_000_000, compressed: false });
  // So slow that it does not come to its end by itself before anybody can see its half.
  const line = await stand.line(registry.port, () => ({ down: { throttle: 3_000_000 } }));
  const outcome = await machine.lading([...pull(line), "--progress", "json"], {
    onStart: whenArrived(0.5, (child) => child.kill("SIGINT")),
  });
  expect(outcome.code, outcome.stderr).toBe(130);
  const first = await nothingLost({
    N3: { place: machine.store, before: {} },
    N5: { folders: [machine.store], partials: 1 },
    N7: { run: outcome, exit: 130, code: "cancelled" },
  });
  expect(first.checked).toHaveLength(3);

  const before = registry.requests.length;
  const again = await machine.lading(pull(registry));
  expect(again, again.stderr).toMatchObject({ code: 0 });
  const [layer] = image.layers;
  const [part, ...more] = registry.requests
    .slice(before)
    .filter(({ line: asked }) => asked.endsWith(layer?.descriptor.digest ?? "?"));
  expect(Number(/^bytes=(\d+)-$/.exec(part?.range ?? "")?.[1])).toBeGreaterThanOrEqual(6_000_000);
  expect(more).toEqual([]);
  return await nothingLost({
    N3: { place: machine.store, before: { "app:1": image.root.digest } },
    N5: { folders: [machine.store] },
    N7: { run: again, exit: 0 },
  });
});

fault("F20", "a disk that fills up at four fifths of a layer", ["N1", "N3", "N5"], async ({ skip }) => {
  const reason = whyNoSmallDisk();
  skip(reason !== null, `no small disk: ${reason}`);
  const registry = await stand.own();
  const machine = await stand.machine();
  const size = 10_000_000;
  const image = await stand.image(registry.url, { layers: 1, layerSize: size, compressed: false });
  const line = await stand.line(registry.port, () => ({ down: { throttle: 5_000_000 } }));
  const disk = await mountSmallDisk(join(machine.home, "disk"), "14m");
  onTestFinished(() => disk.unmount());
  const store = join(disk.path, "store");
  const filler = join(disk.path, "filler");
  const fill = () => {
    for (const step of [1_000_000, 4096]) {
      try {
        for (;;) writeFileSync(filler, Buffer.alloc(step), { flag: "a" });
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
      }
    }
  };
  const into = ["--store", store];
  const outcome = await machine.lading([...pull(line), ...into, "--progress", "json"], {
    onStart: whenArrived(0.8, fill),
  });
  const failure = failureOf(outcome);
  expect(failure).toMatchObject({ code: "no-space", side: "destination", exit: 74 });
  // How much it needs, in bytes: nothing of the layer is left, so that it is all of it.
  expect(failure.message).toContain(` ${image.layers[0]?.descriptor.size} bytes`);
  await nothingLost({ N1: [store], N3: { place: store, before: {} }, N5: { folders: [store] } });
  expect(await tagMap(store)).toEqual({});

  await rm(filler);
  const again = await machine.lading([...pull(registry), ...into]);
  expect(again, again.stderr).toMatchObject({ code: 0 });
  return await nothingLost({
    N1: [store],
    N3: { place: store, before: { "app:1": image.root.digest } },
    N5: { folders: [store] },
  });
});
