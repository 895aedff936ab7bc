import { type Client, crane, regctl } from "../clients.js";
import type { Contest } from "../contest.js";
import { mixed } from "../images.js";
import { timeCrowd } from "../manifest-crowd.js";
import {
  distributionV2,
  distributionV3,
  embedded,
  type RegistryKind,
  startRegistry,
  withRegistry,
} from "../registry.js";
import type { Row } from "../row.js";
import { fill, settle, timePull, timePush } from "../transfer.js";
import type { World } from "../world.js";

/** Those who are compared here are the registries; the clients are the same for all. */
const rival = (): RegistryKind | null => [distributionV3, distributionV2].find(({ here }) => here) ?? null;

async function* contests(world: World): AsyncIterable<Contest> {
  const other = rival();
  const kinds = other === null ? [embedded] : [embedded, other];
  const goals = [{ metric: "seconds", of: embedded.name, against: "fastest peer", atMost: 1 }] as const;
  const contest = (name: string, run: (kind: RegistryKind) => Contest["contestants"][number]["run"]): Contest => ({
    name,
    contestants: kinds.map((kind) => ({ name: kind.name, ours: kind.ours, run: run(kind) })),
    goals: other === null ? [] : goals,
  });

  const crowd = world.quick ? { manifests: 64, clients: 8 } : { manifests: 1000, clients: 32 };
  yield contest(
    `${crowd.manifests} small manifests by ${crowd.clients} clients`,
    (kind) => async () =>
      await withRegistry(world, kind, async (registry) => {
        await settle();
        return await timeCrowd(registry, crowd);
      }),
  );

  const image = await world.images.take(mixed(world.quick));
  const clients: readonly Client[] = [regctl, crane].filter(({ here }) => here);
  for (const client of clients) {
    yield contest(
      `${client.name} pushes ${image.name}`,
      (kind) => async () =>
        await withRegistry(world, kind, async (registry) =>
          timePush(world, client, image, registry, { daemons: [registry.pid] }),
        ),
    );
    const filled = new Map<RegistryKind, Awaited<ReturnType<typeof startRegistry>>>();
    try {
      for (const kind of kinds) {
        const registry = await startRegistry(world, kind);
        filled.set(kind, registry);
        await fill(world, client, image, registry);
      }
      yield contest(`${client.name} pulls ${image.name}`, (kind) => async () => {
        const registry = filled.get(kind);
        if (registry === undefined) throw new Error(`${kind.name} has not been filled`);
        return await timePull(world, client, image, registry, { daemons: [registry.pid] });
      });
    } finally {
      for (const registry of filled.values()) await registry.stop();
    }
  }
}

export const embeddedRows: readonly Row[] = [
  {
    id: "P10",
    title: "the embedded registry under others' clients",
    target: "<= 1.0 of distribution v3: push, pull, 1,000 small manifests by 32 clients",
    disk: 8e9,
    needs: [],
    contests,
  },
];
