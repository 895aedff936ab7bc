import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ladingClient, peers, tag } from "../clients.js";
import type { Contest } from "../contest.js";
import { mixed } from "../images.js";
import { openLine } from "../line.js";
import { type Command, measure } from "../measure.js";
import { startRegistry, usualRegistry } from "../registry.js";
import type { Row } from "../row.js";
import { path } from "../transfer.js";
import type { World } from "../world.js";

const emptyNode = "an empty node";
const lading = ladingClient();

/** A run takes some 100 ms, so that many are cheap, and few say little. */
const runs = 21;

/** Everything is there already, at both ends: what is left is the start and the questions. */
async function* contests(world: World): AsyncIterable<Contest> {
  const image = await world.images.take(mixed(world.quick));
  const registry = await startRegistry(world, usualRegistry());
  const line = await openLine(registry.host, {});
  try {
    const empty = join(world.folder, "empty.mjs");
    await writeFile(empty, "");
    const remote = { host: line.host, ca: null };
    const names = ["lading push", "lading pull"] as const;
    const pulled = join(world.folder, "pulled");
    const [push, pull] = [
      await lading.push(world, image, remote, path),
      await lading.pull(world, remote, path, pulled),
    ];
    for (const command of [push, pull]) await measure(command);
    const timed = (name: string, ours: boolean, command: Command) => ({
      name,
      ours,
      run: async () => {
        const before = line.requests;
        const { seconds, cpu } = await measure(command, { timeOnly: true });
        return { seconds, cpu, memory: 0, extra: { requests: line.requests - before } };
      },
    });
    const others = [];
    for (const peer of peers.filter(({ here }) => here)) {
      const folder = join(world.folder, `again-${peer.name}`);
      await mkdir(folder, { recursive: true });
      const command = await peer.push(world, image, remote, `${path}-${peer.name}`);
      await measure(command);
      others.push(timed(`${peer.name} push`, false, command));
    }
    yield {
      name: `${image.name}:${tag}, nothing changed`,
      contestants: [
        timed(emptyNode, false, { program: process.execPath, args: [empty], env: await world.environment() }),
        timed(names[0], true, push),
        timed(names[1], true, pull),
        ...others,
      ],
      goals: names.flatMap((of) => [
        { metric: "seconds" as const, of, against: emptyNode, atMost: 1.5 },
        { metric: "requests" as const, of, against: 1, atMost: 4 },
      ]),
      ...(world.quick ? {} : { runs }),
    };
  } finally {
    await line.close();
    await registry.stop();
  }
}

export const againRows: readonly Row[] = [
  {
    id: "P5",
    title: "push and pull again, nothing changed",
    target: "<= 1.5 of an empty node plus the round trips; at most 4 requests",
    disk: 6e9,
    needs: [],
    contests,
  },
];
