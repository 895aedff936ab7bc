/** Rows of table D that are about what a registry keeps: D10, D11, D31 to D34. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { createRegistryOn, type Registry, type RegistryOptions } from "../../src/server/registry.js";
import { FilesystemStorage } from "../../src/server/storage/filesystem.js";
import { MemoryStorage, memoryContent } from "../../src/server/storage/memory.js";
import { folders, type Storage } from "../../src/server/storage/storage.js";
import { threat } from "./threat.js";

const hour = 60 * 60 * 1000;
let clock: number;
let directory: string;
let opened: Registry[];
beforeEach(async () => {
  clock = Date.now();
  opened = [];
  directory = await mkdtemp(join(tmpdir(), "lading-keeping-"));
});
afterEach(async () => {
  for (const registry of opened) await registry.close();
  await rm(directory, { recursive: true, force: true });
});

function registryOn(storage: Storage, options: Partial<RegistryOptions> = {}): Registry {
  const registry = createRegistryOn(storage, { now: () => clock, onError: () => undefined, ...options });
  opened.push(registry);
  return registry;
}

async function send(
  registry: Registry,
  method: string,
  url: string,
  body: string | AsyncIterable<Uint8Array> | null = null,
  headers: Record<string, string> = {},
) {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const length = typeof body === "string" ? { "content-length": String(Buffer.byteLength(body)) } : {};
  const response = await registry.handle({ method, url, headers: { ...length, ...headers }, body: bytes });
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  return { status: response.status, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

async function pushBlob(registry: Registry, repository: string, content: string) {
  const digest = digestOf(content);
  const { status } = await send(registry, "POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, content);
  expect(status).toBe(201);
  return { digest, size: Buffer.byteLength(content) };
}

async function pushImage(
  registry: Registry,
  repository: string,
  tag: string,
  layers: readonly string[],
  more: object = {},
) {
  const config = { mediaType: mediaTypes.ociConfig, ...(await pushBlob(registry, repository, `{"tag":"${tag}"}`)) };
  const described = [];
  for (const layer of layers) {
    described.push({ mediaType: mediaTypes.ociLayer, ...(await pushBlob(registry, repository, layer)) });
  }
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config,
    layers: described,
    ...more,
  });
  const headers = { "content-type": mediaTypes.ociManifest };
  const { status } = await send(registry, "PUT", `/v2/${repository}/manifests/${tag}`, manifest, headers);
  expect(status).toBe(201);
  return { manifest, digest: digestOf(manifest), blobs: [config, ...described].map((one) => one.digest) };
}

async function expectImage(
  registry: Registry,
  repository: string,
  { digest, blobs }: { digest: Digest; blobs: readonly Digest[] },
) {
  expect((await send(registry, "GET", `/v2/${repository}/manifests/${digest}`)).status).toBe(200);
  for (const blob of blobs) {
    const got = await send(registry, "GET", `/v2/${repository}/blobs/${blob}`);
    expect([got.status, digestOf(got.body)]).toEqual([200, blob]);
  }
}

threat(
  "D10",
  "of two that send the same chunk of an upload at once one is taken, and the digest is right",
  async () => {
    const registry = registryOn(new MemoryStorage(() => clock));
    const { headers } = await send(registry, "POST", "/v2/a/blobs/uploads/");
    let goOn = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const slow = (async function* () {
      yield Buffer.from("con");
      await waiting;
      yield Buffer.from("tent");
    })();
    const range = { "content-range": "0-6" };
    const first = send(registry, "PATCH", headers.location ?? "", slow, range);
    const second = send(registry, "PATCH", headers.location ?? "", "content", range);
    const statuses = [(await second).status];
    goOn();
    const late = await first;
    statuses.push(late.status);
    expect(statuses.sort()).toEqual([202, 416]);
    const put = await send(registry, "PUT", `${headers.location}?digest=${digestOf("content")}`);
    expect(put.status).toBe(201);
    expect((await send(registry, "GET", put.headers.location ?? "")).body).toBe("content");
  },
);

threat("D11", "uploads that nobody goes on with are bounded in number and bytes, and go after their time", async () => {
  const storage = new MemoryStorage(() => clock);
  const registry = registryOn(storage);
  const open = () => send(registry, "POST", "/v2/carol/a/blobs/uploads/");
  for (let count = 0; count < 1000; count++) expect((await open()).status).toBe(202);
  const refused = await open();
  expect([refused.status, JSON.parse(refused.body).errors[0].code]).toEqual([429, "TOOMANYREQUESTS"]);
  clock += 25 * hour;
  expect((await registry.upkeep.collect()).uploads.removed).toBe(1000);
  expect([await storage.countUploads("carol/a"), (await open()).status]).toEqual([0, 202]);
  // what lies in an upload is held to the owner's quota too
  await registry.upkeep.setQuota("carol", 10);
  const { headers } = await open();
  const long = await send(registry, "PATCH", headers.location ?? "", "eleven byte");
  expect([long.status, JSON.parse(long.body).errors[0].detail.limit]).toEqual([403, "quota"]);
  expect((await send(registry, "GET", headers.location ?? "")).status).toBe(404);
});

for (const place of ["memory", "file system"] as const) {
  threat(
    "D11",
    `an account has no more than 100 uploads open, in whatever repositories and processes: ${place}`,
    async () => {
      const content = memoryContent();
      const start = () =>
        registryOn(
          place === "memory"
            ? new MemoryStorage(() => clock, content)
            : new FilesystemStorage(directory, { durable: false }),
          {
            authorize: async ({ headers }) => ({
              allowed: true,
              principal: { subject: headers["x-test-user"] ?? null },
            }),
          },
        );
      let registry = start();
      let count = 0;
      const open = (user = "carol") =>
        send(registry, "POST", `/v2/team/app${count++ % 7}/blobs/uploads/`, null, { "x-test-user": user });
      const answers = await Promise.all(Array.from({ length: 110 }, () => open()));
      const opened = answers.filter(({ status }) => status === 202).map(({ headers }) => headers.location ?? "");
      const refused = answers.filter(({ status }) => status !== 202);
      expect([opened.length, refused.length]).toEqual([100, 10]);
      for (const { status, body, headers } of refused) {
        expect([status, JSON.parse(body).errors[0].code, headers["retry-after"]]).toEqual([
          429,
          "TOOMANYREQUESTS",
          "60",
        ]);
      }
      // others are not in its way, and whoever nobody knows by name has the repository's bound alone
      expect((await open("dave")).status).toBe(202);
      expect((await send(registry, "POST", "/v2/team/app/blobs/uploads/")).status).toBe(202);
      // the next process knows of them
      await registry.close();
      registry = start();
      expect((await open()).status).toBe(429);
      // one that ended, in either way, makes room for one
      const own = { "x-test-user": "carol" };
      expect((await send(registry, "DELETE", opened[0] ?? "", null, own)).status).toBe(204);
      expect([(await open()).status, (await open()).status]).toEqual([202, 429]);
      const put = await send(registry, "PUT", `${opened[1]}?digest=${digestOf("content")}`, "content", own);
      expect(put.status).toBe(201);
      expect([(await open()).status, (await open()).status]).toEqual([202, 429]);
      clock += 25 * hour;
      expect((await open()).status).toBe(202);
    },
  );
}

threat("D31", "1000 pushes that share layers, with collections beside them, are all whole", async () => {
  const registry = registryOn(new MemoryStorage(() => clock), { limits: { collectGrace: hour } });
  const images = new Map<string, Awaited<ReturnType<typeof pushImage>>>();
  let pushing = true;
  const collecting = (async () => {
    while (pushing) {
      await registry.upkeep.collect();
      // a push is shorter than the grace, and everything else is old soon
      clock += hour / 20;
    }
  })();
  const shared = Array.from({ length: 12 }, (_, index) => `layer ${index}`);
  for (let round = 0; round < 1000; round++) {
    const layers = [0, 1, 2].map((offset) => shared[(round * 7 + offset * (1 + (round % 5))) % shared.length] ?? "");
    const tag = `v${round % 20}`;
    images.set(tag, await pushImage(registry, `team/${round % 3}`, tag, layers));
    await expectImage(registry, `team/${round % 3}`, images.get(tag) ?? { digest: digestOf(""), blobs: [] });
    if (round % 4 === 3) await send(registry, "DELETE", `/v2/team/${round % 3}/manifests/v${(round * 3) % 20}`);
  }
  pushing = false;
  await collecting;
  expect((await registry.upkeep.check()).problems).toEqual([]);
});

threat(
  "D32",
  "a collection ends whatever is missing, keeps what is named, and removes nothing where it can't read",
  async () => {
    const content = memoryContent();
    const inner = new MemoryStorage(() => clock, content);
    const registry = registryOn(inner, { limits: { collectGrace: hour } });
    const image = await pushImage(registry, "a", "v1", ["one", "two"]);
    const other = await pushImage(registry, "b", "v1", ["three"]);
    // a ring, which nobody could push: indexes that name each other
    for (const [from, to] of [
      ["0", "1"],
      ["1", "0"],
    ] as const) {
      const [digest, child] = [digestOf(from), digestOf(to)];
      const record = {
        mediaType: mediaTypes.ociIndex,
        size: 1,
        pushed: new Date(clock).toISOString(),
        subject: null,
        artifactType: null,
        references: [child],
      };
      await inner.put(folders.manifests("a", digest), digest.slice(7), Buffer.from(JSON.stringify(record)));
    }
    await registry.upkeep.setPolicy({ scope: "", keepLast: null, keep: [], untaggedDays: 0, immutable: [] });
    content.blobs.delete(other.blobs[1] as Digest);
    await pushBlob(registry, "a", "forgotten");
    // nothing goes while a repository can't be read
    const broken: Storage = new Proxy(inner, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (key !== "list") return typeof value === "function" ? value.bind(target) : value;
        return async (folder: string, page: Parameters<Storage["list"]>[1]) => {
          if (folder === folders.allManifests("b")[0]) throw new Error("injected");
          return await target.list(folder, page);
        };
      },
    });
    const blind = registryOn(broken, { limits: { collectGrace: hour } });
    const blobs = content.blobs.size;
    for (let run = 0; run < 4; run++) {
      clock += 2 * hour;
      const report = await blind.upkeep.collect();
      expect([report.errors.map(({ repository }) => repository), report.blobs.removed]).toEqual([["b"], 0]);
    }
    expect(content.blobs.size).toBe(blobs);
    for (let run = 0; run < 4; run++) {
      clock += 2 * hour;
      expect((await registry.upkeep.collect()).errors).toEqual([]);
    }
    await expectImage(registry, "a", image);
    expect(content.blobs.has(digestOf("forgotten"))).toBe(false);
    expect(content.blobs.has(other.blobs[0] as Digest)).toBe(true);
  },
);

threat("D33", "100,000 referrers of one subject come in pages of bounded size", async () => {
  const storage = new MemoryStorage(() => clock);
  const registry = registryOn(storage);
  const subject = digestOf("subject");
  const folder = folders.referrers("a", subject);
  for (let index = 0; index < 100_000; index++) {
    const digest = digestOf(String(index));
    const record = { mediaType: mediaTypes.ociManifest, digest, size: 2, artifactType: "application/x" };
    await storage.put(folder, digest.replace(":", "-"), Buffer.from(JSON.stringify(record)));
  }
  let url = `/v2/a/referrers/${subject}`;
  const seen = new Set<string>();
  while (url !== "") {
    const page = await send(registry, "GET", url);
    expect(page.status).toBe(200);
    expect(page.body.length).toBeLessThanOrEqual(4 * 1024 * 1024 + 1024);
    const { manifests } = JSON.parse(page.body) as { manifests: { digest: string }[] };
    expect(manifests.length).toBeLessThanOrEqual(1000);
    for (const { digest } of manifests) seen.add(digest);
    url = /<([^>]+)>/.exec(page.headers.link ?? "")?.[1] ?? "";
  }
  expect(seen.size).toBe(100_000);
});

threat("D34", "what the storage says stays with the registry: a 500 with a code, and no path", async () => {
  const failing = new Proxy(new FilesystemStorage(directory, { durable: false }), {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (key === "get") {
        return async () => {
          throw Object.assign(new Error(`EACCES: permission denied, open '${directory}/secret'`), { code: "EACCES" });
        };
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const registry = registryOn(failing);
  for (const url of ["/v2/a/manifests/v1", `/v2/a/blobs/${digestOf("x")}`]) {
    const answer = await send(registry, "GET", url);
    expect([answer.status, JSON.parse(answer.body).errors[0].code]).toEqual([500, "UNKNOWN"]);
    expect(answer.body + JSON.stringify(answer.headers)).not.toContain(directory);
    expect(answer.body).not.toContain("EACCES");
  }
});
