import { type Client, ladingClient, peers } from "../clients.js";
import type { Contest } from "../contest.js";
import type { BenchImage } from "../image-shelf.js";
import { mixed, real } from "../images.js";
import { startRegistry, usualRegistry } from "../registry.js";
import type { Row } from "../row.js";
import { fill, timeColdPush, timePull } from "../transfer.js";
import type { World } from "../world.js";

const lading = ladingClient();
/** The peers don't wait for the disk: this is Lading when it doesn't either. */
const careless = ladingClient({ name: "lading, no fsync", withoutSync: true });
const present = () => peers.filter(({ here }) => here);

async function* imagesOf(world: World): AsyncIterable<BenchImage> {
  yield await world.images.take(mixed(world.quick));
  yield await world.images.take(real(world.quick));
}

interface ColdOptions {
  readonly tls: boolean;
  readonly atMost: number;
}

/** Out of Lading's store, and out of an OCI layout beside it for the peers, into a registry that has nothing. */
async function* pushes(world: World, { tls, atMost }: ColdOptions): AsyncIterable<Contest> {
  const kind = usualRegistry();
  for await (const image of imagesOf(world)) {
    const contestant = (client: Client) => ({
      name: client.name,
      ours: client.ours,
      run: () => timeColdPush(world, client, image, kind, { tls }),
    });
    yield {
      name: `${image.name} to ${kind.name}`,
      contestants: [lading, ...present()].map(contestant),
      goals: [{ metric: "seconds", of: lading.name, against: "fastest peer", atMost }],
    };
  }
}

/** Out of one registry into folders that aren't there yet. */
async function* pulls(world: World, { tls, atMost }: ColdOptions): AsyncIterable<Contest> {
  const kind = usualRegistry();
  const [filler = lading] = present();
  for await (const image of imagesOf(world)) {
    const registry = await startRegistry(world, kind, { tls });
    try {
      await fill(world, filler, image, registry);
      const contestant = (client: Client) => ({
        name: client.name,
        ours: client.ours,
        run: () => timePull(world, client, image, registry),
      });
      yield {
        name: `${image.name} from ${kind.name}`,
        contestants: [lading, careless, ...present()].map(contestant),
        goals: [
          { metric: "seconds", of: careless.name, against: "fastest peer", atMost },
          { metric: "seconds", of: lading.name, against: "fastest peer", atMost: atMost * 1.25 },
        ],
      };
    } finally {
      await registry.stop();
    }
  }
}

const row = (id: string, title: string, target: string, contests: Row["contests"]): Row => ({
  id,
  title,
  target,
  // The image, the store, a registry and what is pulled, of both images.
  disk: 12e9,
  needs: [],
  contests,
});

export const coldRows: readonly Row[] = [
  row("P1", "store -> registry, cold, plain http on loopback", "<= 1.0 of the fastest", (world) =>
    pushes(world, { tls: false, atMost: 1 }),
  ),
  row("P1t", "store -> registry, cold, TLS", "<= 0.9 of the fastest", (world) =>
    pushes(world, { tls: true, atMost: 0.9 }),
  ),
  row(
    "P2",
    "registry -> store, cold, plain http on loopback",
    "<= 1.0 of the fastest without fsync, <= 1.25 with it",
    (world) => pulls(world, { tls: false, atMost: 1 }),
  ),
  row("P2t", "registry -> store, cold, TLS", "<= 0.9 of the fastest without fsync", (world) =>
    pulls(world, { tls: true, atMost: 0.9 }),
  ),
];
