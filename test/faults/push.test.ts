import { chmod, open } from "node:fs/promises";
import { afterEach, expect } from "vitest";
import { LayoutStore } from "../../src/content/layout.js";
import type { ErrorCode } from "../../src/errors.js";
import { type Client, openClient } from "../../src/index.js";
import { type AnswerProxy, type Meddling, type PassedRequest, startAnswerProxy } from "../support/answer-proxy.js";
import { findDockerRegistry, startDockerRegistry } from "../support/docker-registry.js";
import { startOwnRegistry } from "../support/own-registry.js";
import { randomBytesOf } from "../support/random-bytes.js";
import { type RandomImage, randomImage } from "../support/random-image.js";
import { testClient } from "../support/registry-client.js";
import {
  type Exchange,
  type Handler,
  on,
  type ScriptedRegistry,
  startScriptedRegistry,
} from "../support/scripted-registry.js";
import { errorOf } from "../support/sdk-client.js";
import { describeBytes, sourceOf } from "../support/store-contract.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { fault } from "./fault.js";
import { nothingLost } from "./nothing-lost.js";
import { storedBlobs } from "./stored-blobs.js";
import { type TagMap, tagMap } from "./tag-map.js";

// F28 to F36: a push with faults on its way, to Lading's registry and to Debian's.

const debian = await findDockerRegistry();
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

type Kind = "own" | "debian";
const kinds: readonly (readonly [Kind, string])[] = [
  ["own", "Lading's registry"],
  ...(debian === null ? [] : [["debian", "Debian's docker-registry"] as const]),
];

type Meddle = (request: PassedRequest) => Meddling | null;

interface Bench {
  readonly image: RandomImage;
  readonly layer: RandomImage["layers"][number];
  readonly store: string;
  /** The registry's. */
  readonly folder: string;
  /** `http://127.0.0.1:PORT/team/app`, beside the proxy. */
  readonly repository: string;
  readonly before: TagMap;
  /** As N9 names it. */
  readonly reference: string;
  readonly proxy: AnswerProxy;
  /** What happens to requests from now on. */
  meddle(meddle: Meddle): void;
  /** Another client, with a store of its own or this one. */
  client(storePath?: string): Promise<Client>;
  push(client?: Client): Promise<unknown>;
}

async function registryOf(kind: Kind) {
  if (kind === "debian") {
    const registry = await startDockerRegistry(debian ?? "");
    closers.push(() => registry.close());
    return { registry, folder: registry.data };
  }
  const folder = await temporaryFolder();
  const registry = await startOwnRegistry({ directory: folder });
  closers.push(() => registry.close());
  return { registry, folder };
}

/** An image in a store, a registry, and a proxy that meddles; a first image is in the repository already. */
async function bench(kind: Kind, { layerSize = 12_000_000 } = {}): Promise<Bench> {
  let meddle: Meddle = () => null;

  const { registry, folder } = await registryOf(kind);
  const proxy = await startAnswerProxy(registry.url, (request) => meddle(request));
  closers.push(() => proxy.close());
  const store = await temporaryFolder();
  const layout = new LayoutStore(store, { durability: "fast" });
  const old = await randomImage(layout, { seed: "old" });
  await layout.tag(old.root, "app:old");
  const image = await randomImage(layout, { layers: 1, layerSize });
  await layout.tag(image.root, "app:1");
  const [layer] = image.layers;
  if (layer === undefined) throw new Error("the image has no layer");
  const open = async (storePath = store) => {
    const client = await openClient({
      config: { clusters: { main: { registryUrl: proxy.url } }, cluster: "main", owner: "team" },
      engine: "store",
      storePath,
      env: { HOME: folder },
    });
    closers.push(() => client.close());
    return client;
  };
  const first = await open();
  await first.images.push(first.parse.localImage("app:old"), first.parse.remoteImage("image:app:old"));
  const repository = `${registry.url}/team/app`;
  const before = await tagMap(repository);
  expect(before).toEqual({ old: old.root.digest });
  (proxy.requests as PassedRequest[]).length = 0;
  return {
    ...{ image, layer, store, folder, repository, before, proxy, client: open },
    reference: `${new URL(registry.url).host}/team/app:1`,
    meddle: (own) => {
      meddle = own;
    },
    push: async (client = first) =>
      await client.images.push(client.parse.localImage("app:1"), client.parse.remoteImage("image:app:1")),
  };
}

/** Requests that carry the layer, or a good part of it. */
const isLarge = ({ headers }: PassedRequest) => Number(headers["content-length"] ?? 0) > 1_000_000;
const isTagged = ({ method, target }: PassedRequest) => method === "PUT" && target.endsWith("/manifests/1");

/** Meddles with the requests that fit, one after the other, as long as the list goes. */
function inTurn(fits: (request: PassedRequest) => boolean, ...meddlings: readonly (Meddling | null)[]): Meddle {
  const left = [...meddlings];
  return (request) => (fits(request) ? (left.shift() ?? null) : null);
}

/** How a registry says that it wants chunks. */
const wantsChunks = (size: number): Meddling => ({ instead: { after: size, status: 405 } });
const ofMethod = ({ proxy }: Bench, method: string) => proxy.requests.filter((request) => request.method === method);
const ranges = (there: Bench) => ofMethod(there, "PATCH").map(({ headers }) => headers["content-range"]);
const received = (requests: readonly PassedRequest[]) => requests.reduce((sum, request) => sum + request.received, 0);
const rest = (begin: number, size: number) => `${begin}-${size - 1}`;

/**
 * What holds after a push that came to its end, whatever happened on its way. A session that Debian's registry can't be told of any more
 * stays there until it looks for such itself.
 */
async function arrived(there: Bench, { abandoned = false } = {}) {
  const { store, folder, repository, before, image, reference } = there;
  const { digest } = image.root;
  return await nothingLost({
    N1: [store, folder],
    N2: [repository],
    N3: { place: repository, before, success: { ...before, 1: digest } },
    N4: {
      repository,
      blobs: [...image.layers, image.config].map(({ descriptor }) => descriptor.digest),
      manifests: ["old", "1", digest],
    },
    N5: { folders: abandoned ? [store] : [store, folder] },
    N9: { reference, digest },
  });
}
const whole = ["N1", "N2", "N3", "N4", "N5", "N9"] as const;

/** What holds after one that failed. */
async function refused(
  { store, folder, repository, before }: Bench,
  error: unknown,
  code: ErrorCode,
  stores = [store],
) {
  return await nothingLost({
    N1: [...stores, folder],
    N2: [repository],
    N3: { place: repository, before },
    N4: { repository, blobs: [], manifests: ["old"] },
    N5: { folders: [store, folder] },
    N7: { error, code },
  });
}
const unchanged = ["N1", "N2", "N3", "N4", "N5", "N7"] as const;

for (const [kind, name] of kinds) {
  const forgets = kind === "debian";

  fault("F28", `reset after 37 % of a chunk, to ${name}`, whole, async () => {
    const there = await bench(kind);
    const size = there.layer.bytes.length;
    const cut = Math.floor(size * 0.37);
    there.meddle(inTurn(isLarge, wantsChunks(size), { cutAfter: cut }));
    await there.push();
    // Debian's registry has no use for a session whose request was cut.
    expect(ranges(there)).toEqual([rest(0, size), rest(forgets ? 0 : cut, size)]);
    expect(received(ofMethod(there, "PATCH"))).toBe(forgets ? cut + size : size);
    return await arrived(there, { abandoned: forgets });
  });

  fault("F28", `reset after 37 % of a blob that is sent in one request, to ${name}`, whole, async () => {
    const there = await bench(kind);
    const size = there.layer.bytes.length;
    const cut = Math.floor(size * 0.37);
    there.meddle(inTurn(isLarge, { cutAfter: cut }));
    await there.push();
    expect(ranges(there)).toEqual(forgets ? [] : [rest(cut, size)]);
    expect(received(there.proxy.requests.filter(isLarge))).toBe(forgets ? cut + size : size);
    return await arrived(there, { abandoned: forgets });
  });

  fault("F29", `the answer to a chunk is lost, by ${name}`, whole, async () => {
    const there = await bench(kind);
    const size = there.layer.bytes.length;
    there.meddle(inTurn(isLarge, wantsChunks(size), { dropAnswer: true }));
    await there.push();
    // The URL of the session came with the answer that was lost: what Debian's has under the old one it does not know.
    expect(ranges(there)).toEqual(forgets ? [rest(0, size), rest(0, size)] : [rest(0, size)]);
    return await arrived(there, { abandoned: forgets });
  });

  fault("F30", `the answer to the end of an upload is lost, by ${name}`, whole, async () => {
    const there = await bench(kind);
    const size = there.layer.bytes.length;
    there.meddle(inTurn(isLarge, { dropAnswer: true }));
    await there.push();
    expect(there.proxy.requests.filter(isLarge)).toHaveLength(1);
    expect(received(there.proxy.requests)).toBeLessThan(size + 10_000);
    return await arrived(there);
  });

  fault("F30", `the answer to an empty end is lost, by ${name}`, whole, async () => {
    const there = await bench(kind);
    const size = there.layer.bytes.length;
    let lost = 0;
    const chunks = inTurn(isLarge, wantsChunks(size));
    there.meddle((request) => {
      const isEnd = request.method === "PUT" && request.headers["content-length"] === "0" && lost === 0;
      if (!isEnd) return chunks(request);
      lost += 1;
      return { dropAnswer: true };
    });
    await there.push();
    expect(lost).toBe(1);
    expect(ranges(there)).toEqual([rest(0, size)]);
    // Debian's registry leaves an empty state of a hash behind after an upload in chunks.
    return await arrived(there, { abandoned: forgets });
  });

  fault("F31", `the session is unknown at 60 %, by ${name}`, whole, async () => {
    const there = await bench(kind);
    const size = there.layer.bytes.length;
    const cut = Math.floor(size * 0.6);
    const cutting = inTurn(isLarge, { cutAfter: cut });
    const { origin } = new URL(there.repository);
    there.meddle((request) => {
      if (request.method !== "GET" || !request.target.includes("/uploads/")) return cutting(request);
      return { before: async () => void (await fetch(`${origin}${request.target}`, { method: "DELETE" })) };
    });
    await there.push();
    expect(there.proxy.requests.filter(isLarge).map((request) => request.received)).toEqual([cut, size]);
    return await arrived(there, { abandoned: forgets });
  });

  fault("F35", `the answer to a manifest is lost, by ${name}`, whole, async () => {
    const there = await bench(kind);
    there.meddle(inTurn(isTagged, { dropAnswer: true }));
    await there.push();
    expect(there.proxy.requests.filter(isTagged)).toHaveLength(1);
    return await arrived(there);
  });

  fault("F35", `500 after a manifest was stored, by ${name}`, whole, async () => {
    const there = await bench(kind);
    there.meddle(inTurn(isTagged, { status: 500 }));
    await there.push();
    expect(there.proxy.requests.filter(isTagged)).toHaveLength(1);
    return await arrived(there);
  });

  fault("F36", `four clients push the same image and tag at once, to ${name}`, whole, async () => {
    const there = await bench(kind);
    const own = await Promise.all(
      [1, 2, 3].map(async () => {
        const folder = await temporaryFolder();
        const store = new LayoutStore(folder, { durability: "fast" });
        await store.tag((await randomImage(store, { layers: 1, layerSize: 12_000_000 })).root, "app:1");
        return await there.client(folder);
      }),
    );
    await Promise.all([there.push(), ...own.map((client) => there.push(client))]);
    const files = (await storedBlobs(there.folder)).map(({ digest }) => digest);
    expect(files).toEqual([...new Set(files)]);
    return await arrived(there);
  });

  fault("F36", `four clients of one store push the same image and tag at once, to ${name}`, whole, async () => {
    const there = await bench(kind, { layerSize: 40_000_000 });
    const own = await Promise.all([1, 2, 3].map(() => there.client()));
    await Promise.all([there.push(), ...own.map((client) => there.push(client))]);
    const files = (await storedBlobs(there.folder)).map(({ digest }) => digest);
    expect(files).toEqual([...new Set(files)]);
    return await arrived(there);
  });
}

for (const [status, body, code] of [
  [413, "", "limit-exceeded"],
  [507, "", "no-space"],
  [403, JSON.stringify({ errors: [{ code: "DENIED", message: "quota exceeded" }] }), "denied"],
  [403, JSON.stringify({ errors: [{ code: "DENIED", message: "reached", detail: { limit: "quota" } }] }), "no-space"],
] as const) {
  fault("F33", `${status} at 90 % ends the push as ${code}, and its session`, unchanged, async () => {
    const there = await bench("own");
    const after = Math.floor(there.layer.bytes.length * 0.9);
    there.meddle(inTurn(isLarge, { instead: { after, status, body } }));
    const error = await errorOf(there.push());
    expect(error).toMatchObject({ status, side: "destination", digest: there.layer.descriptor.digest });
    expect(there.proxy.requests.filter(isLarge)).toHaveLength(1);
    expect(ofMethod(there, "DELETE").length).toBeGreaterThan(0);
    return await refused(there, error, code);
  });
}

fault("F34", "the source's file changes while it is sent", unchanged, async () => {
  const there = await bench("own", { layerSize: 80_000_000 });
  const { digest, size } = there.layer.descriptor;
  const file = (await storedBlobs(there.store)).find((blob) => blob.digest === digest)?.path ?? "";
  there.meddle(
    inTurn(isLarge, {
      // Its end has not been read by now: so much lies in no buffer.
      before: async () => {
        await chmod(file, 0o644);
        const handle = await open(file, "r+");
        await handle.write(Buffer.from([0, 1, 2, 3]), 0, 4, size - 4);
        await handle.close();
      },
    }),
  );
  const error = await errorOf(there.push());
  expect(error).toMatchObject({ side: "source", digest });
  expect((await fetch(`${new URL(there.repository).origin}/v2/team/app/blobs/${digest}`)).status).toBe(404);
  return await refused(there, error, "digest-mismatch", []);
});

async function chunkedTo(...handlers: readonly Handler[]) {
  const registry = await startScriptedRegistry(
    on(
      "PUT",
      /uploads/,
      async (exchange) => {
        await exchange.body();
        exchange.send(405);
      },
      1,
    ),
    ...handlers,
  );
  closers.push(() => registry.close());
  const { client, clock } = testClient(registry.url);
  const waits = () => [...clock.waits];
  closers.push(() => client.close());
  const repository = client.repository("a/b", { side: "destination" });
  const bytes = Buffer.from(randomBytesOf("F32", 3_000_000));
  const descriptor = describeBytes(bytes);
  const acknowledged = Buffer.from("acknowledged before");
  registry.blobs.set(describeBytes(acknowledged).digest, acknowledged);
  const lost = async (blobs: readonly string[]) => ({
    repository: `${registry.url}/a/b`,
    blobs: [describeBytes(acknowledged).digest, ...blobs],
    manifests: [],
  });
  const put = async () => await repository.put(descriptor, sourceOf(bytes, 100_000));
  return { registry, waits, descriptor, put, lost };
}

/** Takes a chunk, keeps so much of all, and says that the next one does not fit. */
const steppingBack = (keep: number) => async (exchange: Exchange, registry: ScriptedRegistry) => {
  const id = exchange.url.pathname.split("/").at(-1) ?? "";
  const before = registry.uploads.get(id) ?? Buffer.alloc(0);
  registry.uploads.set(id, Buffer.concat([before, await exchange.body()]).subarray(0, keep));
  exchange.send(416, { location: exchange.target, range: `0-${keep - 1}` });
};

fault("F32", "416 with an older range: the upload steps back", ["N4", "N5"], async () => {
  let registry: ScriptedRegistry | null = null;
  const there = await chunkedTo(
    on(
      "PATCH",
      /uploads/,
      async (exchange) => {
        if (registry !== null) await steppingBack(1_000_000)(exchange, registry);
      },
      1,
    ),
  );
  registry = there.registry;
  await there.put();
  const patches = registry.requests.filter(({ method }) => method === "PATCH");
  expect(patches.map(({ headers }) => headers["content-range"])).toEqual(["0-2999999", "1000000-2999999"]);
  expect(there.waits()).toEqual([]);
  return await nothingLost({
    N4: await there.lost([there.descriptor.digest]),
    N5: { folders: [], sessions: registry.uploads },
  });
});

fault("F32", "416 with an older range again and again: the eleventh is the last", ["N4", "N5", "N7"], async () => {
  let registry: ScriptedRegistry | null = null;
  const there = await chunkedTo(
    on("PATCH", /uploads/, async (exchange) => {
      if (registry !== null) await steppingBack(500_000)(exchange, registry);
    }),
  );
  registry = there.registry;
  const error = await errorOf(there.put());
  expect(registry.requests.filter(({ method }) => method === "PATCH")).toHaveLength(11);
  return await nothingLost({
    N4: await there.lost([]),
    N5: { folders: [], sessions: registry.uploads },
    N7: { error, code: "size-mismatch" },
  });
});
