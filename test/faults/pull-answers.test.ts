import { type LookupAddress, lookup } from "node:dns";
import { expect } from "vitest";
import { MemoryStore } from "../../src/content/memory.js";
import { addressKind } from "../../src/registry/address.js";
import type { Network } from "../../src/registry/checked-lookup.js";
import { manualClock } from "../support/manual-clock.js";
import { randomIndex } from "../support/random-image.js";
import { type Exchange, on, type ScriptedRegistry } from "../support/scripted-registry.js";
import { fault } from "./fault.js";
import { nothingLost } from "./nothing-lost.js";
import { imageAt, repository, Stand } from "./stand.js";
import { tagMap } from "./tag-map.js";

// What a registry, its token service, its storage and the resolver answer to a pull.

const stand = new Stand();
const manifest = `/v2/${repository}/manifests/1`;
const blobs = new RegExp(`^/v2/${repository}/blobs/`);
const pull = (registry: { readonly url: string }) => ["pull", imageAt(registry), "app:1"];

/** `GET`s of each target so far. */
function asked(registry: ScriptedRegistry, pattern: RegExp): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { method, target } of registry.requests) {
    if (method === "GET" && pattern.test(target)) counts[target] = (counts[target] ?? 0) + 1;
  }
  return counts;
}

async function setting(layers = 2) {
  const [registry, machine] = [await stand.scripted(), await stand.machine()];
  const image = await stand.scriptedImage(registry, { layers, layerSize: 400_000, compressed: false });
  return { registry, machine, image, before: await tagMap(machine.store) };
}

const start = Date.UTC(2026, 0, 1);
for (const [what, value, waits] of [
  ["seconds", "3", [3000, 3300]],
  ["a date", new Date(start + 20_000).toUTCString(), [20_000, 22_000]],
  ["what is neither, which counts for nothing", "880\u00b5s", [10_000, 10_000]],
] as const) {
  fault("F12", `a 429 for a manifest with Retry-After in ${what}`, ["N3", "N7"], async () => {
    const { registry, machine, image, before } = await setting();
    const clock = manualClock(start);
    const times: number[] = [];
    registry.handlers.push(
      (exchange) => {
        if (exchange.target === manifest) times.push(clock.now() - start);
        return false;
      },
      on("GET", manifest, (exchange) => exchange.send(429, { "retry-after": value }), 1),
    );
    const outcome = await stand.play(machine, pull(registry), { clock });
    expect(times).toHaveLength(2);
    expect(times[0]).toBe(0);
    expect(times[1]).toBeGreaterThanOrEqual(waits[0]);
    expect(times[1]).toBeLessThanOrEqual(waits[1]);
    return await nothingLost({
      N3: { place: machine.store, before, success: { "app:1": image.root.digest } },
      N7: { run: outcome, exit: 0 },
    });
  });
}

fault("F12", "a 429 for a manifest that asks for an hour ends the pull at once", ["N3", "N7"], async () => {
  const { registry, machine, before } = await setting();
  registry.handlers.push(on("GET", manifest, (exchange) => exchange.send(429, { "retry-after": "3600" })));
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome.clock.waits).toEqual([]);
  expect(asked(registry, /manifests/)).toEqual({ [manifest]: 1 });
  return await nothingLost({
    N3: { place: machine.store, before },
    N7: { run: outcome, exit: 75, code: "rate-limited" },
  });
});

fault("F13", "503 four times, then an answer", ["N3"], async () => {
  const { registry, machine, image, before } = await setting(1);
  const target = `/v2/${repository}/blobs/${image.layers[0]?.descriptor.digest}`;
  registry.handlers.push(on("GET", target, (exchange) => exchange.send(503), 4));
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  expect(outcome.clock.waits).toEqual([250, 500, 1000, 2000]);
  return await nothingLost({ N3: { place: machine.store, before, success: { "app:1": image.root.digest } } });
});

fault("F13", "503 for ever for eight layers that share their waits", ["N3"], async () => {
  const { registry, machine, image, before } = await setting(8);
  const layers = new Set(image.layers.map(({ descriptor }) => descriptor.digest as string));
  registry.handlers.push((exchange) => {
    if (exchange.method !== "GET" || !layers.has(exchange.target.split("/").at(-1) ?? "")) return false;
    exchange.send(503);
    return true;
  });
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome.events.at(-1)).toMatchObject({
    error: { code: "unreachable", status: 503, side: "source", exit: 69 },
  });
  const counts = Object.values(asked(registry, blobs));
  expect(Math.max(...counts)).toBeLessThanOrEqual(5);
  return await nothingLost({ N3: { place: machine.store, before } });
});

fault("F14", "a token that expires between layer 3 and 4", ["N2"], async () => {
  const { registry, machine } = await setting(8);
  let issued = 0;
  let served = 0;
  let valid = "";
  registry.handlers.push(
    on("GET", /^\/token/, (exchange) => {
      issued += 1;
      valid = `token-${issued}`;
      exchange.send(200, { "content-type": "application/json" }, JSON.stringify({ token: valid, expires_in: 300 }));
    }),
    (exchange) => {
      if (exchange.method === "GET" && blobs.test(exchange.target)) {
        served += 1;
        // The config and three layers.
        if (served === 5) valid = "";
      }
      if (valid !== "" && exchange.headers.authorization === `Bearer ${valid}`) return false;
      exchange.send(401, { "www-authenticate": `Bearer realm="${registry.url}/token",service="s"` });
      return true;
    },
  );
  const outcome = await stand.play(machine, pull(registry));
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  // One to begin with, and one for all layers that waited.
  expect(issued).toBe(2);
  return await nothingLost({ N2: [machine.store] });
});

fault("F15", "a storage whose signed URL has expired", ["N1", "N6"], async () => {
  const { registry, machine, image } = await setting(1);
  const secret = "canary-5b81-signature";
  let redirects = 0;
  let always = false;
  const storage = await stand.scripted((exchange) => {
    const { searchParams, pathname } = exchange.url;
    if (always || searchParams.get("n") === "1")
      exchange.send(403, { "content-type": "application/xml" }, "<Error>Expired</Error>");
    else exchange.send(200, {}, registry.blobs.get(pathname.slice(1)) ?? "");
    return true;
  });
  const target = `/v2/${repository}/blobs/${image.layers[0]?.descriptor.digest}`;
  registry.handlers.push(
    on("GET", target, (exchange: Exchange) => {
      redirects += 1;
      const location = `${storage.url}/${image.layers[0]?.descriptor.digest}?n=${redirects}&X-Amz-Signature=${secret}`;
      exchange.send(307, { location });
    }),
  );
  const outcome = await stand.play(machine, [...pull(registry), "--debug"]);
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  expect(redirects).toBe(2);
  // One that stays so is an error, which names the storage.
  always = true;
  const refused = await stand.play(await stand.machine(), [...pull(registry), "--debug"]);
  expect(refused.events.find(({ type }) => type === "error")).toMatchObject({ error: { code: "denied", status: 403 } });
  // The debug output was there to be looked at.
  expect(refused.stderr).toContain(target);
  return await nothingLost({
    N1: [machine.store],
    N6: {
      secrets: [secret],
      texts: [outcome.stderr, outcome.stdout, refused.stderr, refused.stdout],
      folders: [machine.home],
    },
  });
});

/** A resolver that fails so many times for a moment, and knows the name then. */
function shakyNetwork(failures: number): Network & { readonly lookups: () => number } {
  let count = 0;
  return {
    kindOf: addressKind,
    lookups: () => count,
    lookup: (hostname, options, callback) => {
      count += 1;
      if (count <= failures) {
        const error = new Error(`getaddrinfo EAI_AGAIN ${hostname}`);
        callback(Object.assign(error, { code: "EAI_AGAIN", syscall: "getaddrinfo", hostname }), []);
        return;
      }
      lookup("127.0.0.1", options, (error, address, family) =>
        callback(error, address as string | LookupAddress[], family),
      );
    },
  };
}

fault("F16", "a name that can't be looked up twice, and then can", ["N2", "N7"], async () => {
  const { registry, machine } = await setting();
  const network = shakyNetwork(2);
  const host = `reg.example:${new URL(registry.url).port}`;
  const outcome = await stand.play(machine, ["pull", "image:app:1", "app:1", "--insecure", host], {
    network,
    env: { LADING_REGISTRY_URL: `http://${host}`, LADING_OWNER: "team" },
  });
  expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
  expect(network.lookups()).toBeGreaterThanOrEqual(3);
  expect(outcome.clock.waits).toEqual([250, 500]);
  return await nothingLost({ N2: [machine.store], N7: { run: outcome, exit: 0 } });
});

fault("F17", "an index of which one platform lacks a layer", ["N1", "N3"], async () => {
  const [registry, machine] = [await stand.scripted(), await stand.machine()];
  const store = new MemoryStore();
  const index = await randomIndex(store, { layers: 2, layerSize: 400_000, compressed: false });
  const put = (digest: string, type: string, bytes: Uint8Array) =>
    registry.manifests.set(digest, { type, bytes: Buffer.from(bytes) });
  for (const reference of ["1", index.root.digest]) put(reference, index.root.mediaType, index.manifest);
  for (const image of index.images) {
    put(image.root.digest, image.root.mediaType, image.manifest);
    for (const { descriptor, bytes } of [...image.layers, image.config]) {
      registry.blobs.set(descriptor.digest, Buffer.from(bytes));
    }
  }
  const missing = index.images[1]?.layers[1];
  if (missing === undefined) throw new Error("no such layer");
  const target = `/v2/${repository}/blobs/${missing.descriptor.digest}`;
  registry.blobs.delete(missing.descriptor.digest);
  // That it is not there is said when all others have gone out: what was finished is known then.
  const others = [...registry.blobs.keys()].length;
  let sent = 0;
  let allSent = () => {};
  const done = new Promise<void>((resolve) => {
    allSent = resolve;
  });
  registry.handlers.push(
    on(
      "GET",
      target,
      async (exchange) => {
        await done;
        exchange.send(404, {}, JSON.stringify({ errors: [{ code: "BLOB_UNKNOWN", message: "unknown" }] }));
      },
      1,
    ),
    (exchange) => {
      if (exchange.method === "GET" && blobs.test(exchange.target) && exchange.target !== target) {
        exchange.response.on("finish", () => {
          sent += 1;
          // The client has them a moment later; it keeps those that it has.
          if (sent === others) setTimeout(allSent, 1000);
        });
      }
      return false;
    },
  );
  const before = await tagMap(machine.store);
  const all = [...pull(registry), "--platform", "all"];
  const outcome = await stand.play(machine, all);
  expect(outcome.events.at(-1)).toMatchObject({
    error: { code: "not-found", side: "source", digest: missing.descriptor.digest, exit: 72 },
  });
  expect(await tagMap(machine.store)).toEqual(before);

  registry.blobs.set(missing.descriptor.digest, Buffer.from(missing.bytes));
  const already = registry.requests.length;
  const again = await stand.play(machine, all);
  expect(again, again.stderr).toMatchObject({ code: 0 });
  const fetched = registry.requests
    .slice(already)
    .filter((request) => request.method === "GET" && blobs.test(request.target));
  expect(fetched.map((request) => request.target)).toEqual([target]);
  return await nothingLost({
    N1: [machine.store],
    N3: { place: machine.store, before: { "app:1": index.root.digest } },
  });
});
