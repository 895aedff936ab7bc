import { join } from "node:path";
import { randomBytesOf } from "../../test/support/random-bytes.js";
import { BenchEngine, type EngineKind, local, newestEngine, olderEngine, podmanEngine } from "../bench-engine.js";
import { ladingClient, peers, tag } from "../clients.js";
import type { Contest, Contestant } from "../contest.js";
import type { BenchImage } from "../image-shelf.js";
import { mixed } from "../images.js";
import { openLine } from "../line.js";
import { type Command, measure, type Sample } from "../measure.js";
import { startRegistry, usualRegistry, withRegistry } from "../registry.js";
import type { Row } from "../row.js";
import { SeededContent } from "../seeded-content.js";
import { fill, path, settle } from "../transfer.js";
import { wholeInRegistry } from "../whole.js";
import type { World } from "../world.js";

const filler = () => peers.find(({ here }) => here) ?? ladingClient();
const own = (kind: EngineKind, verb: string) => `${kind.program} ${verb}`;

/** Puts an image into an engine as it mostly comes there: by a pull of its own. */
async function supply(world: World, engine: BenchEngine, image: BenchImage): Promise<void> {
  await withRegistry(world, usualRegistry(), async (registry) => {
    await fill(world, filler(), image, registry);
    const reference = `${registry.host}/${path}:${tag}`;
    await measure(await engine.ownTransfer("pull", reference));
    await engine.rename(reference, local);
  });
}

/** Times a program that works for or through an engine. */
async function time(engine: BenchEngine, command: Command): Promise<Sample> {
  await settle();
  const { seconds, cpu, memory } = await measure(command, { daemons: engine.daemons });
  return { seconds, cpu, memory };
}

interface RowOptions {
  readonly kind: EngineKind;
  readonly atMost: number;
  readonly skopeo?: boolean;
}

/** Out of an engine into a registry that has nothing. */
async function* pushes(world: World, { kind, atMost, skopeo = false }: RowOptions): AsyncIterable<Contest> {
  const image = await world.images.take(mixed(world.quick));
  const engine = await BenchEngine.start(kind, world);
  if (engine === null) return;
  try {
    await supply(world, engine, image);
    const contestant = (
      name: string,
      ours: boolean,
      command: (reference: string, folder: string) => Promise<Command>,
    ): Contestant => ({
      name,
      ours,
      run: () =>
        withRegistry(world, usualRegistry(), (registry) =>
          world.withFolder("push", async (folder) => {
            const reference = `${registry.host}/${path}:${tag}`;
            if (!ours) await engine.run("tag", local, reference);
            const sample = await time(engine, await command(reference, folder));
            if (!ours) await engine.run("rmi", reference);
            await wholeInRegistry(registry, path, tag, { digest: null, layers: image.layers });
            return sample;
          }),
        ),
    });
    const theirs = own(kind, "push");
    yield {
      name: `${image.name} out of ${kind.name} to ${usualRegistry().name}`,
      contestants: [
        contestant("lading", true, (reference, folder) =>
          engine.lading(join(folder, "store"), "push", local, reference, "--quiet"),
        ),
        contestant(theirs, false, (reference) => engine.ownTransfer("push", reference)),
        ...(skopeo ? [contestant("skopeo", false, (reference) => engine.skopeoPush(reference))] : []),
      ],
      goals: [{ metric: "seconds", of: "lading", against: theirs, atMost }],
    };
  } finally {
    await engine.stop();
  }
}

/** Out of a registry into an engine that has nothing. */
async function* pulls(world: World, { kind, atMost }: RowOptions): AsyncIterable<Contest> {
  const image = await world.images.take(mixed(world.quick));
  const engine = await BenchEngine.start(kind, world);
  if (engine === null) return;
  const registry = await startRegistry(world, usualRegistry());
  try {
    await fill(world, filler(), image, registry);
    const reference = `${registry.host}/${path}:${tag}`;
    const contestant = (name: string, ours: boolean, command: (folder: string) => Promise<Command>): Contestant => ({
      name,
      ours,
      run: () =>
        world.withFolder("pull", async (folder) => {
          const sample = await time(engine, await command(folder));
          const name = ours ? local : reference;
          await engine.whole(name, image);
          await engine.run("rmi", name);
          return sample;
        }),
    });
    const theirs = own(kind, "pull");
    yield {
      name: `${image.name} from ${usualRegistry().name} into ${kind.name}`,
      contestants: [
        contestant("lading", true, (folder) =>
          engine.lading(join(folder, "store"), "pull", reference, local, "--quiet"),
        ),
        contestant(theirs, false, () => engine.ownTransfer("pull", reference)),
      ],
      goals: [{ metric: "seconds", of: "lading", against: theirs, atMost }],
    };
  } finally {
    await registry.stop();
    await engine.stop();
  }
}

/** What a layer that changes holds, new each time. */
interface Change {
  readonly name: string;
  content(count: number): Uint8Array;
}

/** A program that was built anew and can't be compressed, where what counts is what a tool does beside moving bytes; and a folder of all kinds of files. */
function changes(quick: boolean): readonly Change[] {
  const [random, mixture] = quick ? [1_000_000, 1_000_000] : [3_000_000, 30_000_000];
  const megabytes = (bytes: number) => `${bytes / 1e6} MB`;
  return [
    { name: `one layer of ${megabytes(random)}`, content: (count) => randomBytesOf(`layer ${count}`, random) },
    {
      name: `one layer of ${megabytes(mixture)} of mixed content`,
      content: (count) => mixedBytes(`layer ${count}`, mixture),
    },
  ];
}

/** As the lowest layer of the image: mostly programs and text. */
function mixedBytes(seed: string, size: number): Uint8Array {
  const content = new SeededContent(seed);
  const piece = 1_000_000;
  const kinds = ["binary", "text"] as const;
  const pieces = Array.from({ length: Math.ceil(size / piece) }, (_, index) =>
    content.chunk(index % 30 === 29 ? "packed" : (kinds[index % 2] ?? "text"), Math.min(piece, size - index * piece)),
  );
  return Buffer.concat(pieces);
}

/** Both have pushed the image before; one small layer on top is new each time. */
async function* smallPushes(world: World, kinds: readonly EngineKind[]): AsyncIterable<Contest> {
  for (const kind of kinds) {
    const image = await world.images.take(mixed(world.quick));
    const engine = await BenchEngine.start(kind, world);
    if (engine === null) continue;
    const registry = await startRegistry(world, usualRegistry());
    const line = await openLine(registry.host, {});
    try {
      await supply(world, engine, image);
      const store = join(world.folder, `small-push-${kind.program}-${kind.keepsManifest}`);
      let count = 0;
      const contestant = (name: string, ours: boolean, change: Change): Contestant => {
        const repository = `${path}-${ours ? "lading" : "own"}`;
        const push = async (from: string, to: string) => {
          const reference = `${line.host}/${repository}:${to}`;
          if (ours) return await engine.lading(store, "push", from, reference, "--quiet");
          await engine.run("tag", from, reference);
          return await engine.ownTransfer("push", reference);
        };
        let first = true;
        return {
          name,
          ours,
          run: async () => {
            if (first) await measure(await push(local, "base"));
            first = false;
            count += 1;
            const next = `next:${count}`;
            await engine.addLayer(local, next, change.content(count));
            const command = await push(next, String(count));
            const before = line.bytes.up;
            const sample = await time(engine, command);
            const sent = line.bytes.up - before;
            await wholeInRegistry(registry, repository, String(count), { digest: null, layers: image.layers + 1 });
            return { ...sample, extra: { "bytes sent": sent } };
          },
        };
      };
      const theirs = own(kind, "push");
      for (const change of changes(world.quick)) {
        yield {
          name: `${change.name} on top of ${image.name}, out of ${kind.name}`,
          contestants: [contestant("lading", true, change), contestant(theirs, false, change)],
          goals: [{ metric: "seconds", of: "lading", against: theirs, atMost: 1 }],
        };
      }
    } finally {
      await line.close();
      await registry.stop();
      await engine.stop();
    }
  }
}

/** The engine has the image; the registry has it with one small layer on top, which is new each time. */
async function* smallPulls(world: World, kinds: readonly EngineKind[]): AsyncIterable<Contest> {
  for (const kind of kinds) {
    const image = await world.images.take(mixed(world.quick));
    const [engine, maker] = [await BenchEngine.start(kind, world), await BenchEngine.start(kind, world)];
    if (engine === null || maker === null) continue;
    const registry = await startRegistry(world, usualRegistry());
    try {
      await fill(world, filler(), image, registry);
      const base = `${registry.host}/${path}:${tag}`;
      for (const each of [engine, maker]) await measure(await each.ownTransfer("pull", base));
      let count = 0;
      const make = async (change: Change): Promise<string> => {
        count += 1;
        const reference = `${registry.host}/${path}:next-${count}`;
        await maker.addLayer(base, reference, change.content(count));
        await measure(await maker.ownTransfer("push", reference));
        return reference;
      };
      const contestant = (name: string, ours: boolean, change: Change): Contestant => ({
        name,
        ours,
        run: async () => {
          const reference = await make(change);
          const store = join(world.folder, `small-pull-${count}`);
          const command = ours
            ? await engine.lading(store, "pull", reference, local, "--quiet")
            : await engine.ownTransfer("pull", reference);
          const sample = await time(engine, command);
          const there = ours ? local : reference;
          const layers = JSON.parse(await engine.run("image", "inspect", "-f", "{{json .RootFS.Layers}}", there));
          const made = JSON.parse(await maker.run("image", "inspect", "-f", "{{json .RootFS.Layers}}", reference));
          if (layers.join() !== made.join()) throw new Error(`${there} has other layers than what was pushed`);
          await engine.run("rmi", there);
          return sample;
        },
      });
      const theirs = own(kind, "pull");
      for (const change of changes(world.quick)) {
        yield {
          name: `${change.name} on top of ${image.name}, into ${kind.name}`,
          contestants: [contestant("lading", true, change), contestant(theirs, false, change)],
          goals: [{ metric: "seconds", of: "lading", against: theirs, atMost: 1 }],
        };
      }
    } finally {
      await registry.stop();
      await engine.stop();
      await maker.stop();
    }
  }
}

async function* bothWays(world: World): AsyncIterable<Contest> {
  yield* pushes(world, { kind: podmanEngine, atMost: 0.6 });
  yield* pulls(world, { kind: podmanEngine, atMost: 0.8 });
}

const row = (id: string, title: string, target: string, contests: Row["contests"]): Row => ({
  id,
  title,
  target,
  // The image in the engine, unpacked and packed, in a registry, in a store, and what an engine puts aside while it works.
  disk: 14e9,
  needs: [],
  contests,
});

export const engineRows: readonly Row[] = [
  row("P3", "older Docker Engine -> registry, cold", "<= 0.45 of docker push", (world) =>
    pushes(world, { kind: olderEngine, atMost: 0.45, skopeo: true }),
  ),
  row("P3n", "newest Docker Engine -> registry, cold", "<= 1.1 of docker push", (world) =>
    pushes(world, { kind: newestEngine, atMost: 1.1 }),
  ),
  row("P4", "registry -> older Docker Engine, cold", "<= 0.75 of docker pull", (world) =>
    pulls(world, { kind: olderEngine, atMost: 0.75 }),
  ),
  row("P4n", "registry -> newest Docker Engine, cold", "<= 1.0 of docker pull", (world) =>
    pulls(world, { kind: newestEngine, atMost: 1 }),
  ),
  row("P6", "push from Docker after one small layer changed", "<= 1.0 of docker push", (world) =>
    smallPushes(world, [olderEngine, newestEngine]),
  ),
  row("P6p", "pull into Docker after one small layer changed", "<= 1.0 of docker pull", (world) =>
    smallPulls(world, [olderEngine, newestEngine]),
  ),
  row("P13", "Podman, both directions, cold", "<= 0.6 of podman push, <= 0.8 of podman pull", bothWays),
];
