import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BenchEngine, local, olderEngine } from "../bench-engine.js";
import { type Client, ladingClient, peers, type Remote, tag } from "../clients.js";
import type { Contest, Contestant } from "../contest.js";
import { layered, mixedImage, tiny } from "../images.js";
import { type Line, openLine } from "../line.js";
import { measure, type Sample } from "../measure.js";
import { startRegistry, usualRegistry, withRegistry } from "../registry.js";
import type { Row } from "../row.js";
import { fill, path, timePull, timePush } from "../transfer.js";
import type { World } from "../world.js";

const lading = ladingClient();
const present = () => peers.filter(({ here }) => here);

/** Asks for each tag's manifest one after the other on one connection, as programs do that were written for ten tags. */
const oneByOne = `
import { Agent, request } from "node:http";
const [base] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
const get = (path) => new Promise((resolve, reject) => {
  const call = request(base + path, { agent, headers: { accept } }, async (answer) => {
    const chunks = [];
    for await (const chunk of answer) chunks.push(chunk);
    resolve({ next: /<([^>]*)>/.exec(answer.headers.link ?? "")?.[1], ...JSON.parse(Buffer.concat(chunks)) });
  });
  call.once("error", reject);
  call.end();
});
const found = [];
for (let page = "tags/list?n=1000"; page !== undefined; ) {
  const { tags, next } = await get(page);
  found.push(...tags);
  page = next?.slice(next.indexOf("tags/list"));
}
for (const tag of found) {
  const { config, layers } = await get("manifests/" + tag);
  console.log(tag, layers.reduce((sum, { size }) => sum + size, config.size));
}
agent.destroy();
`;

async function* manyTags(world: World): AsyncIterable<Contest> {
  const program = join(world.folder, "one-by-one.mjs");
  await writeFile(program, oneByOne);
  const image = await world.images.take(mixedImage(24e6));
  for (const count of world.quick ? [10] : [10, 1000, 10_000]) {
    const registry = await startRegistry(world, usualRegistry());
    const line = await openLine(registry.host, { roundTrip: world.quick ? 2 : 20 });
    try {
      await fill(world, present()[0] ?? lading, image, registry);
      await copyTag(registry.host, count);
      const env = await world.environment({ LADING_ENGINE: "store" });
      const timed = (name: string, ours: boolean, args: readonly string[]): Contestant => ({
        name,
        ours,
        run: async () => {
          const before = line.requests;
          const { stdout, ...sample } = await measure({ program: process.execPath, args, env });
          const lines = stdout.split("\n").filter((text) => /^t\d+\s/.test(text)).length;
          if (lines !== count) throw new Error(`${name} showed ${lines} of ${count} tags`);
          const { seconds, cpu, memory } = sample;
          return { seconds, cpu, memory, extra: { requests: line.requests - before } };
        },
      });
      const theirs = "one request per tag in sequence";
      yield {
        name: `${count} tags with sizes and dates, ${world.quick ? 2 : 20} ms away`,
        contestants: [
          timed("lading tags -l", true, [world.program, "tags", "-l", `${line.host}/${path}`]),
          ...(count > 1000 ? [] : [timed(theirs, false, [program, `http://${line.host}/v2/${path}/`])]),
        ],
        grows: { series: "tags -l", over: "tags", by: count },
        goals: count === 1000 ? [{ metric: "seconds", of: "lading tags -l", against: theirs, atMost: 0.1 }] : [],
        ...(world.quick ? {} : { runs: 3 }),
      };
    } finally {
      await line.close();
      await registry.stop();
    }
  }
}

/** Gives the image that is there so many tags more, and takes its own one away, as far as the registry lets. */
async function copyTag(host: string, count: number): Promise<void> {
  const url = `http://${host}/v2/${path}/manifests/`;
  const found = await fetch(`${url}${tag}`, { headers: { accept: "application/vnd.oci.image.manifest.v1+json" } });
  const [type, body] = [found.headers.get("content-type") ?? "", await found.text()];
  for (let next = 0; next < count; next += 1) {
    const put = await fetch(`${url}t${next}`, { method: "PUT", headers: { "content-type": type }, body });
    if (put.status !== 201) throw new Error(`the registry answers ${put.status} to a tag`);
    await put.arrayBuffer();
  }
}

/** Many layers that are next to nothing, far away: what counts is how many questions are asked one after the other. */
async function* tinyLayers(world: World): AsyncIterable<Contest> {
  const image = await world.images.take(tiny(world.quick));
  const roundTrip = world.quick ? 2 : 30;
  const clients = [lading, ...present()];
  const pushed = (client: Client): Contestant => ({
    name: client.name,
    ours: client.ours,
    run: async () => {
      if (client.ours) await world.storeOf(image);
      return await withRegistry(world, usualRegistry(), async (registry) => {
        const line = await openLine(registry.host, { roundTrip });
        try {
          const sample = await timePush(world, client, image, registry, { remote: { host: line.host, ca: null } });
          return { ...sample, extra: { requests: line.requests } };
        } finally {
          await line.close();
        }
      });
    },
  });
  const engine = await BenchEngine.start(olderEngine, world);
  try {
    const registry = await startRegistry(world, usualRegistry());
    const line = await openLine(registry.host, { roundTrip });
    try {
      await fill(world, present()[0] ?? lading, image, registry);
      const far = `${line.host}/${path}:${tag}`;
      const docker = "docker pull";
      yield {
        name: `pull of ${image.name}, ${roundTrip} ms away`,
        contestants: [
          ...clients.map((client) => ({
            name: client.name,
            ours: client.ours,
            run: () => timePull(world, client, image, { host: line.host, ca: null }),
          })),
          ...(engine === null
            ? []
            : [
                {
                  name: docker,
                  ours: false,
                  run: async () => {
                    const sample = await measure(await engine.ownTransfer("pull", far), { daemons: engine.daemons });
                    await engine.whole(far, image);
                    await engine.run("rmi", far);
                    return { seconds: sample.seconds, cpu: sample.cpu, memory: sample.memory };
                  },
                },
              ]),
        ],
        goals: [
          { metric: "seconds", of: "lading", against: "fastest peer", atMost: 1 },
          ...(engine === null ? [] : [{ metric: "seconds" as const, of: "lading", against: docker, atMost: 0.5 }]),
        ],
      };
      if (engine !== null) {
        await measure(await engine.ownTransfer("pull", far));
        await engine.rename(far, local);
      }
    } finally {
      await line.close();
      await registry.stop();
    }
    const docker = "docker push";
    yield {
      name: `push of ${image.name}, ${roundTrip} ms away`,
      contestants: [
        ...clients.map(pushed),
        ...(engine === null
          ? []
          : [
              {
                name: docker,
                ours: false,
                run: () =>
                  withRegistry(world, usualRegistry(), async (registry) => {
                    const line = await openLine(registry.host, { roundTrip });
                    try {
                      const reference = `${line.host}/${path}:${tag}`;
                      await engine.run("tag", local, reference);
                      const command = await engine.ownTransfer("push", reference);
                      const { seconds, cpu, memory } = await measure(command, { daemons: engine.daemons });
                      await engine.run("rmi", reference);
                      return { seconds, cpu, memory };
                    } finally {
                      await line.close();
                    }
                  }),
              },
            ]),
      ],
      goals: [
        { metric: "seconds", of: "lading", against: "fastest peer", atMost: 1 },
        ...(engine === null ? [] : [{ metric: "seconds" as const, of: "lading", against: docker, atMost: 0.5 }]),
      ],
    };
  } finally {
    await engine?.stop();
  }
}

/** More and more layers: the requests grow by one for each, and a constant. */
async function* moreLayers(world: World): AsyncIterable<Contest> {
  for (const count of world.quick ? [1, 12] : [1, 10, 120]) {
    const image = await world.images.take(layered(count));
    const counted = (line: Line, run: (remote: Remote) => Promise<Sample>) => async () => {
      const before = line.requests;
      const sample = await run({ host: line.host, ca: null });
      return { ...sample, extra: { requests: line.requests - before } };
    };
    const atMost = (most: number) => [{ metric: "requests", of: lading.name, against: most, atMost: 1 }] as const;
    const ours = (run: () => Promise<Sample>): readonly Contestant[] => [{ name: lading.name, ours: true, run }];
    await world.storeOf(image);
    const registry = await startRegistry(world, usualRegistry());
    const line = await openLine(registry.host, {});
    try {
      await fill(world, present()[0] ?? lading, image, registry);
      yield {
        name: `pull of ${count} layers`,
        contestants: ours(counted(line, (remote) => timePull(world, lading, image, remote))),
        goals: atMost(image.layers + 12),
        grows: { series: "pull", over: "layers", by: count },
      };
    } finally {
      await line.close();
      await registry.stop();
    }
    const push = () =>
      withRegistry(world, usualRegistry(), async (empty) => {
        const way = await openLine(empty.host, {});
        try {
          return await counted(way, (remote) => timePush(world, lading, image, empty, { remote }))();
        } finally {
          await way.close();
        }
      });
    yield {
      name: `push of ${count} layers`,
      contestants: ours(push),
      // A push asks for each blob, opens an upload and sends it.
      goals: atMost(3 * (image.layers + 1) + 12),
      grows: { series: "push", over: "layers", by: count },
    };
  }
}

/** A line that is the limit: what counts is that it is never idle, and carries nothing twice. */
async function* slowLine(world: World): AsyncIterable<Contest> {
  const image = await world.images.take(mixedImage(world.quick ? 24e6 : 540e6));
  const line = { roundTrip: 30, bytesPerSecond: world.quick ? 50e6 : 12.5e6 };
  const atLeast = image.compressed / line.bytesPerSecond;
  const goals = (direction: string): Contest["goals"] => [
    { metric: "seconds", of: "lading", against: atLeast, atMost: 1 / 0.97 },
    { metric: direction, of: "lading", against: image.compressed, atMost: 1.01 },
  ];
  const over = async (client: Client, direction: "up" | "down"): Promise<Sample> =>
    await withRegistry(world, usualRegistry(), async (registry) => {
      if (direction === "down") await fill(world, present()[0] ?? lading, image, registry);
      else if (client.ours) await world.storeOf(image);
      const opened = await openLine(registry.host, line);
      try {
        const remote = { host: opened.host, ca: null };
        const sample =
          direction === "up"
            ? await timePush(world, client, image, registry, { remote })
            : await timePull(world, client, image, remote);
        return { ...sample, extra: { "bytes on the wire": opened.bytes[direction] } };
      } finally {
        await opened.close();
      }
    });
  const clients = [lading, ...present().slice(0, 2)];
  for (const [name, direction] of [
    ["push", "up"],
    ["pull", "down"],
  ] as const) {
    yield {
      name: `${name} of ${image.name} over ${line.bytesPerSecond * 8e-6} Mbit/s, 30 ms away`,
      contestants: clients.map((client) => ({
        name: client.name,
        ours: client.ours,
        run: () => over(client, direction),
      })),
      goals: goals("bytes on the wire"),
      ...(world.quick ? {} : { runs: 3 }),
    };
  }
}

const row = (id: string, title: string, target: string, contests: Row["contests"]): Row => ({
  ...{ id, title, target, contests },
  disk: 3e9,
  needs: [],
});

export const farRows: readonly Row[] = [
  row("P8", "tags -l, 1,000 tags, 20 ms of latency", "<= 0.1 of one request per tag in sequence", manyTags),
  row(
    "P11",
    "120 tiny layers, 30 ms of latency, both directions",
    "<= 0.5 of docker, <= 1.0 of the fastest",
    tinyLayers,
  ),
  row(
    "P12",
    "a line of 100 Mbit/s with 30 ms",
    ">= 97 % of the line; bytes on the wire <= 1.01 of the blobs",
    slowLine,
  ),
  row("G", "growth over layers", "linear; a pull asks once per blob, a push three times, plus a constant", moreLayers),
];
