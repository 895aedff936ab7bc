import { chmod, mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { digestOf } from "../../src/oci/digest.js";
import { serve as startServing } from "../faults/killed-server.js";
import { storedBlobs } from "../faults/stored-blobs.js";
import { type RunningRegistry, startOwnRegistry } from "../support/own-registry.js";
import { failureOf } from "./failure.js";
import { Machine, type Outcome } from "./machine.js";
import { conforms } from "./schema.js";
import { mountSmallDisk, whyNoSmallDisk } from "./small-disk.js";

// The verbs run beside a server that holds the folder: they change it in turns.

let machine: Machine;
let data: string;
let server: RunningRegistry;
let host: string;

beforeEach(async () => {
  machine = await Machine.create();
  data = join(machine.home, "images");
  await serve(data);
});
afterEach(async () => {
  await server.close();
  await machine.remove();
});

async function serve(directory: string): Promise<void> {
  server = await startOwnRegistry({ directory });
  host = new URL(server.url).host;
}

const registry = (line: string, directory = data): Promise<Outcome> =>
  machine.lading(["registry", ...line.split(" "), "--data", directory, "--json"]);

/** What a verb prints with `--json`, held to its schema, whatever its verdict is. */
async function printed<Value>(verb: string, line: string, exit = 0, directory = data): Promise<Value> {
  const { code, stdout, stderr } = await registry(`${verb.replaceAll("-", " ")} ${line}`.trim(), directory);
  expect({ verb, line, code }, stderr).toEqual({ verb, line, code: exit });
  return conforms(`registry-${verb}`, JSON.parse(stdout)) as Value;
}

/** Puts an image of a seed into the registry. */
async function pushed(tag: string, seed: string): Promise<string> {
  const digest = await machine.putImage(tag, { seed });
  const push = await machine.lading(["push", tag, `${host}/alice/${tag}`, "--json"]);
  expect(push.code, push.stderr).toBe(0);
  return digest;
}

const pull = (name: string, store: string) =>
  machine.lading(["pull", `${host}/alice/${name}`, "--json"], { env: { LADING_STORE: join(machine.home, store) } });

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly [{ readonly digest: string }, { readonly digest: string }];
}

async function manifestOf(digest: string): Promise<Manifest> {
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const response = await fetch(`${server.url}/v2/alice/app/manifests/${digest}`, { headers: { accept } });
  expect(response.status).toBe(200);
  return (await response.json()) as Manifest;
}

/** Every tag of the repository, with what it stands for. */
async function tags(): Promise<Readonly<Record<string, string | null>>> {
  const { tags } = (await (await fetch(`${server.url}/v2/alice/app/tags/list`)).json()) as { tags: readonly string[] };
  const found: Record<string, string | null> = {};
  for (const tag of tags) {
    const head = await fetch(`${server.url}/v2/alice/app/manifests/${tag}`, { method: "HEAD" });
    found[tag] = head.headers.get("docker-content-digest");
  }
  return found;
}

const stored = async (directory = data) => (await storedBlobs(directory)).map(({ digest }) => digest).sort();

/** All blobs of an image, as {@link stored} says them. */
async function blobsOf(digest: string): Promise<readonly string[]> {
  const { config, layers } = await manifestOf(digest);
  return [digest, config.digest, ...layers.map((layer) => layer.digest)].sort();
}

interface Collected {
  readonly dryRun: boolean;
  readonly tags: { readonly removed: number };
  readonly blobs: { readonly removed: number; readonly removedBytes: number };
}

describe("registry gc", () => {
  it("removes what nothing names, keeps what is named, and only says so in a dry run", async () => {
    const [gone, kept] = [await pushed("app:gone", "gone"), await pushed("app:kept", "kept")];
    const [lost, wanted] = [await blobsOf(gone), await blobsOf(kept)];
    const deleted = await fetch(`${server.url}/v2/alice/app/manifests/${gone}`, { method: "DELETE" });
    expect(deleted.status).toBe(202);
    const before = await stored();
    expect(before).toEqual(expect.arrayContaining([...lost, ...wanted]));

    expect(await printed<Collected>("gc", "--dry-run --grace 0")).toMatchObject({ dryRun: true });
    expect(await stored()).toEqual(before);
    // what was given just now is not old enough
    expect(await printed<Collected>("gc", "")).toMatchObject({ dryRun: false, blobs: { removed: 0 } });
    expect(await stored()).toEqual(before);

    const { blobs } = await printed<Collected>("gc", "--grace 0");
    expect(blobs.removed).toBe(lost.length);
    expect(blobs.removedBytes).toBeGreaterThan(0);
    expect(await stored()).toEqual(wanted);
    expect(await pull("app:kept", "pulled")).toMatchObject({ code: 0 });
    expect(await printed("check", "")).toMatchObject({ ok: true, problems: [], quarantined: 0, tags: 1 });
  });

  it("lets go of all but the last tags where a policy says so", async () => {
    const scope = "alice/app";
    await pushed("app:v1", "v1");
    const set = await printed("policy-set", `${scope} --keep-last 1 --keep v*`);
    expect(set).toEqual({ scope, keepLast: 1, keep: ["v*"], untaggedDays: null, immutable: [] });
    expect(await printed("policy-list", "")).toEqual({ policies: [set] });
    for (const tag of ["old", "new"]) await pushed(`app:${tag}`, tag);
    expect((await printed<Collected>("gc", "--grace 0")).tags.removed).toBe(1);
    expect(Object.keys(await tags()).sort()).toEqual(["new", "v1"]);
    expect(await printed("policy-remove", scope)).toEqual({ scope });
    expect(failureOf(await registry(`policy remove ${scope}`))).toMatchObject({ code: "not-found", exit: 72 });
  });
});

describe("registry check", () => {
  it("finds a corrupt blob; out of reach, it is an error to pull, and a push repairs it", async () => {
    const digest = await pushed("app:1", "check");
    const [layer] = (await manifestOf(digest)).layers;
    const file = (await storedBlobs(data)).find((blob) => blob.digest === layer.digest)?.path ?? "";
    const bytes = await readFile(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await chmod(file, 0o644);
    await writeFile(file, bytes);

    const corrupt = { kind: "blob-corrupt", repository: null, tag: null, digest: layer.digest };
    expect(await printed("check", "--quick")).toMatchObject({ ok: true, bytes: 0 });
    const found = { ok: false, quarantined: 0, problems: [corrupt] };
    expect(await printed("check", "", 65)).toMatchObject(found);
    expect(await stored()).toContain(layer.digest);
    expect(failureOf(await pull("app:1", "corrupt"))).toMatchObject({ code: "digest-mismatch", exit: 65 });

    expect(await printed("check", "--quarantine", 65)).toMatchObject({ ...found, quarantined: 1 });
    expect(await stored()).not.toContain(layer.digest);
    const name = layer.digest.replace(":", "-");
    expect(await readFile(join(data, "corrupt", name)).catch(() => null)).toEqual(bytes);
    const missing = { kind: "content-missing", repository: "alice/app", tag: null, digest: layer.digest };
    expect(await printed("check", "", 65)).toMatchObject({ ok: false, problems: [missing] });
    expect(failureOf(await pull("app:1", "missing"))).toMatchObject({ digest: layer.digest, exit: 72 });

    // whoever asks for the manifest by HEAD, as a push does, is not told that all is there already
    const head = { method: "HEAD" };
    for (const path of [`blobs/${layer.digest}`, "manifests/1", `manifests/${digest}`]) {
      expect((await fetch(`${server.url}/v2/alice/app/${path}`, head)).status, path).toBe(404);
    }
    // the tag is there nevertheless: another image does not get it where none is to be moved, this one does
    const careful = [`${host}/alice/app:1`, "--no-clobber", "--json"];
    await machine.putImage("other:1", { seed: "other" });
    const clash = await machine.lading(["push", "other:1", ...careful]);
    expect(failureOf(clash)).toMatchObject({ code: "conflict", digest, side: "destination", exit: 73 });
    expect(await machine.lading(["push", "app:1", ...careful])).toMatchObject({ code: 0 });
    expect(await tags()).toEqual({ 1: digest });
    expect(await printed("check", "")).toMatchObject({ ok: true, problems: [] });
    expect(await pull("app:1", "repaired")).toMatchObject({ code: 0 });
  });
});

describe("serve --scrub-interval", () => {
  it("takes a corrupt blob out of reach while it serves, and `lading push` repairs it", async () => {
    const digest = await pushed("app:1", "scrub");
    const [layer] = (await manifestOf(digest)).layers;
    const file = (await storedBlobs(data)).find((blob) => blob.digest === layer.digest)?.path ?? "";
    await server.close();
    const bytes = await readFile(file);
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    await chmod(file, 0o644);
    await writeFile(file, bytes);
    const flags = ["--scrub-interval", "1s", "--scrub-rate", "1G"];
    const scrubbing = await startServing(machine, data, flags);
    host = new URL(scrubbing.url).host;
    const blob = `${scrubbing.url}/v2/alice/app/blobs/${layer.digest}`;
    const status = async () => (await fetch(blob, { method: "HEAD" })).status;
    await vi.waitFor(async () => expect(await status()).toBe(404), { timeout: 30_000, interval: 100 });
    expect(await pushed("app:1", "scrub")).toBe(digest);
    expect(await status()).toBe(200);
    await scrubbing.end("SIGTERM");
    expect(await printed("check", "")).toMatchObject({ ok: true, problems: [] });
  });
});

describe("registry backup and restore", () => {
  it.each(["copy", "copy.tar"])("give the same tags and digests in another folder (%s)", async (name) => {
    await pushed("app:1", "one");
    await pushed("app:2", "two");
    const [before, blobs] = [await tags(), await stored()];
    const copy = join(machine.home, name);
    const counts = { repositories: 1, manifests: 2, tags: 2, blobs: blobs.length, damaged: [] };
    expect(await printed("backup", copy)).toMatchObject({ ...counts, path: copy });
    // what is there is not written over
    expect(failureOf(await registry(`backup ${copy}`))).toMatchObject({ code: "conflict", exit: 73 });

    const restored = join(machine.home, "restored");
    await mkdir(restored);
    expect(await printed("restore", copy, 0, restored)).toMatchObject({ ...counts, path: restored });
    expect(failureOf(await registry(`restore ${copy}`, restored))).toMatchObject({ code: "conflict", exit: 73 });
    expect(await printed("check", "", 0, restored)).toMatchObject({ ok: true, tags: 2, blobs: blobs.length });

    await server.close();
    await serve(restored);
    expect([await tags(), await stored(restored)]).toEqual([before, blobs]);
    expect(await pull("app:2", "pulled")).toMatchObject({ code: 0 });
  });
});

describe("bounds", () => {
  it("hold a quota: what is too much is refused with the limit named, and nothing of it is tagged", async () => {
    await pushed("app:1", "first");
    expect(await printed("quota-set", "alice 30k")).toMatchObject({ owner: "alice", bytes: 30_000 });
    const { quotas } = await printed<{ quotas: readonly { used: number }[] }>("quota-list", "");
    expect(quotas).toEqual([{ owner: "alice", bytes: 30_000, used: expect.any(Number) }]);
    expect(quotas[0]?.used).toBeGreaterThan(0);
    const before = await tags();

    await machine.putImage("app:2", { seed: "large", layerSize: 100_000 });
    const refusal = await machine.lading(["push", "app:2", `${host}/alice/app:2`, "--json"]);
    expect(failureOf(refusal)).toMatchObject({ code: "no-space", status: 403, exit: 74 });
    expect(await tags()).toEqual(before);
    // in a body of many pieces, of which the first ones have room
    expect(await printed("quota-set", "alice 300k")).toMatchObject({ bytes: 300_000 });
    const body = new Uint8Array(3_000_000);
    const uploads = `${server.url}/v2/alice/app/blobs/uploads/`;
    const begin = async () =>
      new URL((await fetch(uploads, { method: "POST" })).headers.get("location") ?? "", uploads);
    const digest = digestOf(body);
    for (const [method, url] of [
      ["PATCH", await begin()],
      ["PUT", new URL(`?digest=${digest}`, await begin())],
      ["POST", new URL(`?digest=${digest}`, uploads)],
    ] as const) {
      const answer = await fetch(url, { method, body });
      const { errors } = (await answer.json()) as { readonly errors: readonly unknown[] };
      const detail = { limit: "quota", owner: "alice", quota: 300_000 };
      expect([method, answer.status, errors[0]]).toMatchObject([method, 403, { code: "DENIED", detail }]);
      if (method !== "POST") expect([method, (await fetch(url)).status]).toEqual([method, 404]);
    }
    expect(await readdir(join(data, "repos", "alice", "app", "_uploads"))).toEqual([]);

    expect(await printed("quota-remove", "alice")).toEqual({ owner: "alice" });
    expect(failureOf(await registry("quota remove alice"))).toMatchObject({ code: "not-found", exit: 72 });
    expect(await machine.lading(["push", "app:2", `${host}/alice/app:2`])).toMatchObject({ code: 0 });
  });

  it("hold an immutable tag: it can neither be moved nor deleted", async () => {
    const digest = await pushed("app:v1", "first");
    await printed("policy-set", "alice --immutable v*");
    await machine.putImage("app:v1", { seed: "second" });
    const moved = await machine.lading(["push", "app:v1", `${host}/alice/app:v1`, "--json"]);
    expect(failureOf(moved)).toMatchObject({ status: 409 });
    const deleted = await fetch(`${server.url}/v2/alice/app/manifests/v1`, { method: "DELETE" });
    expect(deleted.status).toBe(409);
    expect(await tags()).toEqual({ v1: digest });
    // the same once more is no move
    expect(await pushed("app:v1", "first")).toBe(digest);
  });

  it.each([
    "quota set alice much",
    "quota set alice/app 1G",
    "policy set ../x --keep-last 1",
    "policy set alice --keep-last some",
    "policy set alice --keep a/b",
    "gc --grace soon",
  ])("are not set by `%s`", async (line) => {
    await pushed("app:1", "one");
    expect(failureOf(await registry(line))).toMatchObject({ code: "usage", exit: 64 });
    expect(await printed("policy-list", "")).toEqual({ policies: [] });
  });

  it("are of a registry that is there", async () => {
    const nowhere = join(machine.home, "nowhere");
    for (const line of ["gc", "check", "backup copy", "quota list", "policy list"]) {
      expect(failureOf(await registry(line, nowhere)), line).toMatchObject({ code: "not-found", exit: 72 });
    }
  });
});

const noDisk = whyNoSmallDisk();

describe.skipIf(noDisk !== null)(`a full disk${noDisk === null ? "" : ` (skipped: ${noDisk})`}`, () => {
  it("has room again after the upload that filled it, so that it can be cleaned", async () => {
    await server.close();
    const folder = await mkdtemp(join(tmpdir(), "lading-full-"));
    const disk = await mountSmallDisk(folder, "4m");
    // after the server on it has ended
    onTestFinished(async () => {
      await disk.unmount();
      await rmdir(folder);
    });
    data = join(disk.path, "images");
    await serve(data);
    const digest = await pushed("app:1", "kept");
    const uploads = `${server.url}/v2/alice/app/blobs/uploads/`;
    const begun = (await fetch(uploads, { method: "POST" })).headers.get("location") ?? "";
    const body = new Uint8Array(6_000_000);
    const session = new URL(begun, uploads);
    const closing = new URL(`?digest=${digestOf(body)}`, session);
    for (const [method, url] of [
      ["PATCH", session],
      ["PUT", closing],
      ["POST", new URL(`?digest=${digestOf(body)}`, uploads)],
    ] as const) {
      const answer = await fetch(url, { method, body });
      const { errors } = (await answer.json()) as { readonly errors: readonly unknown[] };
      expect([method, answer.status, errors]).toMatchObject([method, 507, [{ detail: { limit: "disk" } }]]);
      // the session is where it was before
      expect((await fetch(session)).headers.get("range"), method).toBe("0-0");
    }
    expect(await readdir(join(data, "repos", "alice", "app", "_uploads"))).toHaveLength(1);
    expect(await printed("check", "")).toMatchObject({ ok: true });

    // where somebody else has filled it, that is what is said
    const filler = join(disk.path, "filler");
    for (let full = false; !full; ) {
      full = await writeFile(filler, Buffer.alloc(4096), { flag: "a" }).then(
        () => false,
        () => true,
      );
    }
    for (const line of ["gc --grace 0", "quota set alice 1G", "policy set alice --keep-last 1"]) {
      expect([line, failureOf(await registry(line))]).toMatchObject([line, { code: "no-space", exit: 74 }]);
    }
    const manifest = `${server.url}/v2/alice/app/manifests/${digest}`;
    expect((await fetch(manifest, { method: "DELETE" })).status).toBe(507);
    expect((await fetch(manifest)).status).toBe(200);
    await rm(filler);
    expect((await fetch(manifest, { method: "DELETE" })).status).toBe(202);
    expect((await printed<Collected>("gc", "--grace 0")).blobs.removed).toBeGreaterThan(0);
  });
});
