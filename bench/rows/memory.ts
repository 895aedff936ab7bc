import { join } from "node:path";
import { ladingClient, peers } from "../clients.js";
import type { Contest, Contestant } from "../contest.js";
import type { BenchImage } from "../image-shelf.js";
import { bulky, large, mixed } from "../images.js";
import { measure, watchMemory } from "../measure.js";
import { embedded, startRegistry, usualRegistry, withRegistry } from "../registry.js";
import type { Row } from "../row.js";
import { arrivalOf, fill, path, timeColdPush, timePull } from "../transfer.js";
import { wholeInLayout } from "../whole.js";
import type { World } from "../world.js";

const lading = ladingClient();
const bound = 150e6;
const goals = [{ metric: "memory", of: "lading", against: bound, atMost: 1 }] as const;
const fastest = () => peers.filter(({ here }) => here).slice(0, 1);

/** Push, pull and serve of one image: what counts is the most that was resident at a time. */
async function* of(world: World, image: BenchImage): AsyncIterable<Contest> {
  const kind = usualRegistry();
  yield {
    name: `push of ${image.name}`,
    contestants: [lading, ...fastest()].map((client) => ({
      name: client.name,
      ours: client.ours,
      run: () => timeColdPush(world, client, image, kind),
    })),
    goals,
    grows: { series: "push", over: "bytes", by: image.compressed },
    runs: 1,
  };
  const registry = await startRegistry(world, kind);
  try {
    await fill(world, fastest()[0] ?? lading, image, registry);
    yield {
      name: `pull of ${image.name}`,
      contestants: [lading, ...fastest()].map((client) => ({
        name: client.name,
        ours: client.ours,
        run: () => timePull(world, client, image, registry),
      })),
      goals,
      grows: { series: "pull", over: "bytes", by: image.compressed },
      runs: 1,
    };
  } finally {
    await registry.stop();
  }
  const serve = (server: typeof kind): Contestant => ({
    name: server.ours ? "lading" : server.name,
    ours: server.ours,
    run: () =>
      withRegistry(world, server, (running) =>
        world.withFolder("served", async (folder) => {
          const client = fastest()[0] ?? lading;
          const watch = watchMemory([running.pid]);
          const started = performance.now();
          await measure(await client.push(world, image, running, path));
          const layout = join(folder, "layout");
          await measure(await client.pull(world, running, path, layout));
          const seconds = (performance.now() - started) / 1000;
          const memory = await watch.end();
          await wholeInLayout(layout, arrivalOf(image));
          return { seconds, cpu: 0, memory };
        }),
      ),
  });
  yield {
    name: `serving a push and a pull of ${image.name}`,
    contestants: [embedded, ...(kind.ours ? [] : [kind])].map(serve),
    goals,
    grows: { series: "push and pull at lading serve", over: "bytes", by: image.compressed },
    runs: 1,
  };
}

/** Flat in size: a tenth and a hundredth of it too. */
async function* contests(world: World): AsyncIterable<Contest> {
  const sizes = world.quick ? [large(true)] : [bulky(100e6), bulky(1e9), large(false)];
  for (const recipe of sizes) yield* of(world, await world.images.take(recipe));
  if (!world.quick) yield* of(world, await world.images.take(mixed(false)));
}

export const memoryRows: readonly Row[] = [
  {
    id: "P7",
    title: "peak memory up to 10 GB, each of push, pull, serve",
    target: "<= 150 MB, flat in image size",
    disk: 45e9,
    needs: [],
    contests,
  },
];
