import { expect } from "vitest";
import { manualClock } from "../support/manual-clock.js";
import type { RandomImage } from "../support/random-image.js";
import { type Exchange, on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { fault } from "./fault.js";
import { faultyLading } from "./faulty-process.js";
import { nothingLost } from "./nothing-lost.js";
import { imageAt, realRegistries, repository, Stand } from "./stand.js";
import { tagMap } from "./tag-map.js";

// What a line does to a blob on its way down.

const stand = new Stand();
const mebibyte = 2 ** 20;
const plain = { layers: 1, compressed: false } as const;

const layerOf = (image: RandomImage) => {
  const [layer] = image.layers;
  if (layer === undefined) throw new Error("an image without a layer");
  return layer;
};

/** A scripted registry with an image; the machine pulls it into its store. */
async function scriptedImage(layerSize = 3_000_000) {
  const [registry, machine] = [await stand.scripted(), await stand.machine()];
  const image = await stand.scriptedImage(registry, { ...plain, layerSize });
  const { descriptor, bytes } = layerOf(image);
  const target = `/v2/${repository}/blobs/${descriptor.digest}`;
  const before = registry.requests.length;
  const ranges = () =>
    registry.requests
      .slice(before)
      .filter(({ method, target: asked }) => method === "GET" && asked === target)
      .map(({ headers }) => headers.range);
  return { registry, machine, image, layer: { ...descriptor, bytes: Buffer.from(bytes) }, target, ranges };
}

const pull = (registry: { readonly url: string }) => ["pull", imageAt(registry), "app:1"];
const startOf = (exchange: Exchange) => Number(/=(\d+)-/.exec(exchange.headers.range ?? "=0-")?.[1]);

/** Answers with `bytes` from where it is asked, and ends the connection after `count` of them. */
function part(exchange: Exchange, bytes: Buffer, count: number, how: "end" | "reset" = "reset"): void {
  const from = startOf(exchange);
  exchange.response.writeHead(from === 0 ? 200 : 206, {
    "content-length": String(bytes.length - from),
    ...(from === 0 ? {} : { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  });
  const { socket } = exchange.request;
  exchange.response.write(bytes.subarray(from, from + count), () => (how === "end" ? socket.end() : socket.destroy()));
}

for (const [name, start] of realRegistries) {
  fault("F01", `a reset after 37 % of a layer of 64 MiB from ${name}`, ["N1", "N2", "N9"], async (context) => {
    const registry = await start(stand, context);
    const image = await stand.image(registry.url, { ...plain, layerSize: 64 * mebibyte });
    const { digest, size } = layerOf(image).descriptor;
    const asked = registry.requests.length;
    // The layer has the second connection for itself.
    const line = await stand.line(registry.port, (connection) =>
      connection === 1 ? { down: { resetAfter: Math.floor(0.37 * size) } } : null,
    );
    const machine = await stand.machine();
    const outcome = await stand.play(machine, pull(line));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect([line.struck, line.connections]).toEqual([1, 3]);
    expect(line.bytes.down).toBeLessThanOrEqual(size + mebibyte);
    if (registry.folder !== null) {
      const ranges = registry.requests.slice(asked).filter(({ line: request }) => request.endsWith(digest));
      expect(ranges.map(({ range }) => range)).toEqual([undefined, expect.stringMatching(/^bytes=\d{7,}-$/)]);
    }
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N9: { store: machine.store, name: "app:1", digest: image.root.digest },
    });
  });

  fault("F02", `a reset every MiB, 64 times, from ${name}`, ["N1", "N2"], async (context) => {
    const registry = await start(stand, context);
    const image = await stand.image(registry.url, { ...plain, layerSize: 64 * mebibyte });
    const { size } = layerOf(image).descriptor;
    const line = await stand.line(registry.port, () => ({ down: { resetAfter: mebibyte } }));
    const machine = await stand.machine();
    const outcome = await stand.play(machine, pull(line));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    // Nothing that had come is thrown away: as many resets as there are MiB, and a connection after each.
    expect(line.struck).toBe(64);
    expect(line.connections - 1).toBeLessThanOrEqual(64);
    expect(line.bytes.down).toBeLessThanOrEqual(size + mebibyte);
    expect(await tagMap(machine.store)).toEqual({ "app:1": image.root.digest });
    return await nothingLost({ N1: [machine.store], N2: [machine.store] });
  });

  fault("F07", `one byte that turned over on the way from ${name}`, ["N1", "N2", "N9"], async (context) => {
    const registry = await start(stand, context);
    const image = await stand.image(registry.url, { ...plain, layerSize: 3_000_000 });
    const { digest, size } = layerOf(image).descriptor;
    const line = await stand.line(registry.port, (connection) =>
      connection === 0 ? { down: { corruptAt: 1_500_000 } } : null,
    );
    const machine = await stand.machine();
    const outcome = await stand.play(machine, pull(line));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect(line.struck).toBe(1);
    expect(line.bytes.down).toBeGreaterThan(2 * size);
    expect(line.bytes.down).toBeLessThan(2 * size + mebibyte);
    expect(outcome.events.filter(({ level }) => level === "warning")).toEqual([
      expect.objectContaining({ message: expect.stringContaining(digest) }),
    ]);
    return await nothingLost({
      N1: [machine.store],
      N2: [machine.store],
      N9: { store: machine.store, name: "app:1", digest: image.root.digest },
    });
  });

  fault("F08", `a byte that turns over every time on the way from ${name}`, ["N1", "N3", "N5"], async (context) => {
    const registry = await start(stand, context);
    const image = await stand.image(registry.url, { ...plain, layerSize: 3_000_000 });
    const line = await stand.line(registry.port, () => ({ down: { corruptEvery: 1_000_000 } }));
    const machine = await stand.machine();
    const before = await tagMap(machine.store);
    const outcome = await stand.play(machine, pull(line));
    expect(outcome.code).toBe(65);
    const { size } = layerOf(image).descriptor;
    expect(line.bytes.down).toBeGreaterThan(2 * size);
    expect(line.bytes.down).toBeLessThan(2 * size + mebibyte);
    expect(outcome.events.at(-1)).toMatchObject({
      error: { code: "digest-mismatch", side: "source", digest: layerOf(image).descriptor.digest },
    });
    return await nothingLost({
      N1: [machine.store],
      N3: { place: machine.store, before },
      N5: { folders: [machine.store] },
    });
  });
}

fault("F03", "a reset before any byte, for ever", ["N3", "N5", "N7"], async () => {
  const { registry, machine, target, ranges, layer } = await scriptedImage();
  registry.handlers.push(on("GET", target, ({ request }) => void request.socket.resetAndDestroy()));
  const before = await tagMap(machine.store);
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome.events.at(-1)).toMatchObject({ error: { code: "unreachable", side: "source", digest: layer.digest } });
  // A kept connection that is found dead is no try.
  expect(ranges().length).toBeLessThanOrEqual(6);
  // Five tries have four waits between them, each at most twice the one before: half of that with this chance.
  expect(outcome.clock.waits).toEqual([250, 500, 1000, 2000]);
  return await nothingLost({
    N3: { place: machine.store, before },
    N5: { folders: [machine.store] },
    N7: { run: outcome, exit: 69, code: "unreachable" },
  });
});

fault("F04", "an orderly end one byte short of what was announced", ["N1", "N2"], async () => {
  const { registry, machine, target, layer, ranges } = await scriptedImage();
  registry.handlers.push(on("GET", target, (exchange) => part(exchange, layer.bytes, layer.size - 1, "end"), 1));
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  expect(ranges()).toEqual([undefined, `bytes=${layer.size - 1}-`]);
  return await nothingLost({ N1: [machine.store], N2: [machine.store] });
});

fault("F05", "a server that knows no Range sends the whole again", ["N1"], async () => {
  const { registry, machine, target, layer, ranges } = await scriptedImage();
  registry.handlers.push(
    on("GET", target, (exchange) => part(exchange, layer.bytes, 2_000_000), 1),
    on("GET", target, (exchange) => exchange.send(200, {}, layer.bytes)),
  );
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  // No prefix twice: the file is as long as the layer, and N1 says that it is the layer.
  expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/)]);
  return await nothingLost({ N1: [machine.store] });
});

const badRanges: readonly (readonly [string, (from: number, size: number) => string | readonly string[] | null])[] = [
  ["another start", (from, size) => `bytes ${from + 1}-${size - 1}/${size}`],
  ["another total", (from, size) => `bytes ${from}-${size - 1}/${size + 1}`],
  ["two headers", (from, size) => [`bytes ${from}-${size - 1}/${size}`, `bytes 0-${size - 1}/${size}`]],
  ["no header", () => null],
];
for (const [what, rangeOf] of badRanges) {
  const wrong = (exchange: Exchange, layer: { readonly bytes: Buffer; readonly size: number }) => {
    const range = rangeOf(startOf(exchange), layer.size);
    if (range !== null) exchange.response.setHeader("content-range", range);
    const rest = layer.bytes.subarray(startOf(exchange));
    exchange.response.writeHead(206, { "content-length": String(rest.length) });
    exchange.response.end(rest);
  };

  fault("F06", `a part with ${what} is refused, and the whole asked for once`, ["N1", "N5"], async () => {
    const { registry, machine, target, layer, ranges } = await scriptedImage();
    registry.handlers.push(
      on("GET", target, (exchange) => part(exchange, layer.bytes, 2_000_000), 1),
      on("GET", target, (exchange) => wrong(exchange, layer), 1),
    );
    const outcome = await stand.play(machine, pull(registry));
    expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/), undefined]);
    return await nothingLost({ N1: [machine.store], N5: { folders: [machine.store] } });
  });

  fault("F06", `a part with ${what} also instead of the whole is an error`, ["N1", "N5"], async () => {
    const { registry, machine, target, layer, ranges } = await scriptedImage();
    registry.handlers.push(
      on("GET", target, (exchange) => part(exchange, layer.bytes, 2_000_000), 1),
      on("GET", target, (exchange) => wrong(exchange, layer)),
    );
    const outcome = await stand.play(machine, pull(registry));
    expect(outcome.events.at(-1)).toMatchObject({ error: { code: "unsupported", side: "source" } });
    expect(ranges()).toHaveLength(3);
    // What had come is good, and waits for a server that knows better.
    return await nothingLost({ N1: [machine.store], N5: { folders: [machine.store], partials: 1 } });
  });
}

for (const [what, again] of [
  ["and stays another one", false],
  ["and is right the next time", true],
] as const) {
  fault("F09", `content that changes before it is taken up again, ${what}`, ["N1", "N3"], async () => {
    const { registry, machine, image, target, layer, ranges } = await scriptedImage();
    const other = Buffer.from(layer.bytes);
    other.fill(0x55, 2_500_000);
    registry.handlers.push(
      on(
        "GET",
        target,
        (exchange) => {
          exchange.response.setHeader("etag", '"one"');
          part(exchange, layer.bytes, 2_000_000);
        },
        1,
      ),
      on(
        "GET",
        target,
        (exchange) => {
          exchange.response.setHeader("etag", '"two"');
          part(exchange, other, other.length);
        },
        again ? 1 : undefined,
      ),
    );
    const before = await tagMap(machine.store);
    const outcome = await stand.play(machine, pull(registry));
    expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/), undefined]);
    if (again) expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
    else expect(outcome.events.at(-1)).toMatchObject({ error: { code: "digest-mismatch", side: "source" } });
    const success = again ? { "app:1": image.root.digest } : before;
    return await nothingLost({ N1: [machine.store], N3: { place: machine.store, before: success } });
  });
}

/** A layer that stalls at its middle the first time; resolves when it has. */
function stalling(registry: ScriptedRegistry, target: string, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    registry.handlers.push(
      on(
        "GET",
        target,
        (exchange) => {
          exchange.response.writeHead(200, { "content-length": String(bytes.length) });
          exchange.response.write(bytes.subarray(0, 1_500_000), () => resolve());
        },
        1,
      ),
    );
  });
}

fault("F10", "a stall of ten minutes on an open connection", ["N7"], async () => {
  const { registry, machine, target, layer, ranges } = await scriptedImage();
  const clock = manualClock();
  const stalled = stalling(registry, target, layer.bytes);
  const running = stand.play(machine, pull(registry), { clock });
  await stalled;
  // Until the client has taken what was sent: then nothing moves any more.
  await new Promise((resolve) => setTimeout(resolve, 500));
  clock.advance(55_000);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(ranges()).toEqual([undefined]);
  clock.advance(600_000);
  const outcome = await running;
  expect(ranges()).toEqual([undefined, "bytes=1500000-"]);
  return await nothingLost({ N7: { run: outcome, exit: 0 } });
});

fault("F10", "the same in a process of its own", ["N7", "N8"], async () => {
  const { registry, machine, target, layer, ranges } = await scriptedImage(64 * mebibyte);
  const stalled = stalling(registry, target, layer.bytes);
  const outcome = await faultyLading(machine, pull(registry), {
    leap: 70_000,
    onStart: async (child) => {
      await stalled;
      await new Promise((resolve) => setTimeout(resolve, 500));
      child.kill("SIGUSR2");
    },
  });
  expect(ranges()).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/)]);
  return await nothingLost({ N7: { run: outcome, exit: 0 }, N8: outcome.report });
});

fault("F11", "1 KiB a second for five minutes", ["N1", "N7"], async () => {
  const { registry, machine, target, layer, ranges } = await scriptedImage(300 * 1024);
  const clock = manualClock();
  registry.handlers.push(
    on("GET", target, async ({ response }) => {
      response.writeHead(200, { "content-length": String(layer.size) });
      for (let at = 0; at < layer.size; at += 1024) {
        await new Promise((resolve) => response.write(layer.bytes.subarray(at, at + 1024), resolve));
        await new Promise((resolve) => setTimeout(resolve, 5));
        clock.advance(1000);
      }
      response.end();
    }),
  );
  const started = clock.now();
  const outcome = await stand.play(machine, pull(registry), { clock });
  expect(clock.now() - started).toBeGreaterThanOrEqual(300_000);
  expect(ranges()).toEqual([undefined]);
  const shown = outcome.events.filter(({ status }) => status === "downloading").map(({ current }) => Number(current));
  expect(shown.some((current) => current > 0 && current < layer.size)).toBe(true);
  return await nothingLost({ N1: [machine.store], N7: { run: outcome, exit: 0 } });
});
