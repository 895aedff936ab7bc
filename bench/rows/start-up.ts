import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Contest } from "../contest.js";
import { measure } from "../measure.js";
import type { Row } from "../row.js";
import type { World } from "../world.js";

const emptyNode = "an empty node";

/** A run takes some 50 ms, so that many are cheap, and few say little. */
const runs = 31;

async function* contests(world: World): AsyncIterable<Contest> {
  const empty = join(world.folder, "empty.mjs");
  await writeFile(empty, "");
  const data = join(world.folder, "empty-registry");
  await mkdir(data, { recursive: true });
  const config = join(world.folder, "start-up.toml");
  const cluster = ["[clusters.local]", 'registryUrl = "http://localhost:1"', `data = ${JSON.stringify(data)}`];
  await writeFile(config, ['owner = "tester"', ...cluster, ""].join("\n"));
  const env = await world.environment({ LADING_CONFIG: config, LADING_ENGINE: "store" });
  const node = (name: string, ours: boolean, ...args: string[]) => ({
    name,
    ours,
    run: async () => {
      const { seconds, cpu } = await measure({ program: process.execPath, args, env }, { timeOnly: true });
      return { seconds, cpu, memory: 0 };
    },
  });
  const goal = (of: string, atMost: number) => ({ metric: "seconds", of, against: emptyNode, atMost }) as const;
  yield {
    name: "to the first answer",
    contestants: [
      node(emptyNode, false, empty),
      node("lading --version", true, world.program, "--version"),
      node("lading --help", true, world.program, "--help"),
      node("lading ls", true, world.program, "ls"),
    ],
    goals: [goal("lading --version", 1.25), goal("lading --help", 1.25), goal("lading ls", 1.5)],
    ...(world.quick ? {} : { runs }),
  };
}

export const startUpRows: readonly Row[] = [
  {
    id: "P9",
    title: "start-up",
    target: "--version and --help <= 1.25 of an empty node, ls of an empty registry in process <= 1.5",
    disk: 1e8,
    needs: [],
    contests,
  },
];
