// Over 300 lines: the operations and what is expected after them are one thing, and are read side by side.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { createRegistryOn, type Registry } from "../../src/server/registry.js";
import { matchesAny } from "../../src/server/retention-policy.js";
import { FilesystemStorage } from "../../src/server/storage/filesystem.js";
import { MemoryStorage, memoryContent } from "../../src/server/storage/memory.js";
import type { Storage } from "../../src/server/storage/storage.js";
import { Cell } from "./cell.js";
import { Seeded } from "./seeded.js";
import { Stepper, steppedStorage } from "./stepped-storage.js";

export interface ModelOptions {
  readonly seed: number;
  /** Operations of clients and collections. */
  readonly steps: number;
  readonly storage: "memory" | "filesystem";
  /** @default 40 */
  readonly checkEvery?: number;
  readonly onProgress?: (done: number) => void;
}

export interface ModelReport {
  readonly steps: number;
  /** Calls to the storage. */
  readonly calls: number;
  readonly crashes: number;
  readonly checks: number;
  readonly collections: number;
  readonly removedBlobs: number;
  readonly removedManifests: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** Requests that a quota refused. */
  readonly beyondQuota: number;
  /** Requests that an immutable tag refused. */
  readonly immutable: number;
}

const grace = 60 * 60 * 1000;
const repositories = ["a", "a/b", "c", "policy/d", "fixed/e", "bound/f"];
/** Of `fixed/e`, while the operator wants it so: neither moved nor deleted. */
const immutable = ["V*", "1"];
/** Of `bound`: room for some of its manifests. In bytes. */
const quota = 4000;
const tags = ["1", "2", "V2", "latest"];
const atOnce = 6;

interface Content {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

interface ManifestContent extends Content {
  readonly mediaType: string;
  readonly blobs: readonly Content[];
  readonly manifests: readonly ManifestContent[];
}

function content(bytes: Buffer): Content {
  return { digest: digestOf(bytes), bytes };
}

/** What is done for a while: so that content comes, is forgotten, collected, and comes back. */
interface Phase {
  /** Chances of a push of an image, a blob, a mount; of a delete of a tag, a manifest, a blob; of an upload that is left. */
  readonly mix: readonly [number, number, number, number, number, number, number];
  /** Chance that the clock goes far. */
  readonly jump: number;
  readonly manifests: readonly ManifestContent[];
  readonly blobs: readonly Content[];
}

const mixes: readonly Phase["mix"][] = [
  [0.55, 0.1, 0.08, 0.06, 0.06, 0.03, 0.04],
  [0.2, 0.1, 0.05, 0.1, 0.3, 0.05, 0.05],
  [0.1, 0.1, 0.1, 0.05, 0.05, 0.02, 0.08],
];

/** Few contents, so that everything meets everything: 10 blobs, 12 images that share them, 3 indexes, 4 referrers. */
function makeWorld(random: Seeded): {
  readonly blobs: readonly Content[];
  readonly manifests: readonly ManifestContent[];
} {
  const blobs = Array.from({ length: 10 }, (_, index) => content(Buffer.from(`blob ${index}`)));
  const describe = (mediaType: string, { digest, bytes }: Content) => ({ mediaType, digest, size: bytes.length });
  const image = (more: object): ManifestContent => {
    const used = random.some(blobs, 3);
    const [config, ...layers] = used.length === 0 ? blobs : used;
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: describe(mediaTypes.ociConfig, config as Content),
        layers: layers.map((layer) => describe(mediaTypes.ociLayer, layer)),
        ...more,
      }),
    );
    return { ...content(bytes), mediaType: mediaTypes.ociManifest, blobs: used, manifests: [] };
  };
  const images = Array.from({ length: 12 }, (_, index) => image({ annotations: { index: String(index) } }));
  const indexes = Array.from({ length: 3 }, (_, number): ManifestContent => {
    const inner = random.some(images, 3);
    const manifests = inner.map((one) => describe(one.mediaType, one));
    const annotations = { index: String(number) };
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests, annotations }),
    );
    return { ...content(bytes), mediaType: mediaTypes.ociIndex, blobs: [], manifests: inner };
  });
  const referrers = Array.from({ length: 4 }, (_, index) => {
    const subject = random.pick(images);
    return image({ subject: describe(subject.mediaType, subject), annotations: { referrer: String(index) } });
  });
  return { blobs, manifests: [...images, ...indexes, ...referrers] };
}

/** What a test or a long run watches: random operations, collections and crashes, and whether all that was promised is there. */
export async function runModel(options: ModelOptions): Promise<ModelReport> {
  const directory = await mkdtemp(join(tmpdir(), "lading-model-"));
  try {
    return await new RegistryModel(options, join(directory, "data")).run();
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

class RegistryModel {
  readonly #options: ModelOptions;
  readonly #random: Seeded;
  readonly #world: ReturnType<typeof makeWorld>;
  readonly #makeInner: () => Storage;
  /** Orders what happens; the clock of the registry is another. */
  #time = 0;
  #clock = Date.now();
  #stepper: Stepper;
  #registry: Registry;
  #running = new Set<Promise<void>>();
  #failure: Error | null = null;
  #phase: Phase;
  readonly #tags = new Map<string, Cell<Digest | "none">>();
  readonly #manifests = new Map<string, Cell<"there" | "none">>();
  /** What clients did to links. A collection takes only what no promise covers. */
  readonly #links = new Map<string, Cell<"there" | "none">>();
  /** Tags that are immutable, and stand for something: null while there are none, by the operator's will. */
  #fixed: Map<string, Digest> | null = null;
  /** Until when a client that was told of a blob may rely on it, by the clock. */
  readonly #promised = new Map<string, number>();
  readonly #counts = {
    crashes: 0,
    checks: 0,
    collections: 0,
    removedBlobs: 0,
    removedManifests: 0,
    acknowledged: 0,
    refused: 0,
    beyondQuota: 0,
    immutable: 0,
  };
  #calls = 0;

  constructor(options: ModelOptions, directory: string) {
    this.#options = options;
    this.#random = new Seeded(options.seed);
    this.#world = makeWorld(this.#random);
    const content = memoryContent();
    this.#makeInner = () =>
      options.storage === "memory"
        ? new MemoryStorage(() => this.#clock, content)
        : new FilesystemStorage(directory, { durable: false });
    this.#stepper = new Stepper(this.#random);
    this.#registry = this.#start();
    this.#phase = this.#nextPhase();
  }

  #nextPhase(): Phase {
    const { blobs, manifests } = this.#world;
    return {
      mix: this.#random.pick(mixes),
      jump: this.#random.pick([0.005, 0.05, 0.15]),
      blobs: this.#random.some(blobs, 4),
      manifests: this.#random.some(manifests, 5),
    };
  }

  #start(): Registry {
    return this.#on(steppedStorage(this.#makeInner(), this.#stepper));
  }

  #on(storage: Storage): Registry {
    // files bear the time of the machine, far behind the clock here
    const uploadIdle = this.#options.storage === "memory" ? grace / 2 : Number.MAX_SAFE_INTEGER;
    const limits = { collectGrace: grace, uploadIdle };
    const onError = (error: unknown): void => {
      // whatever is not the injected one is a failure of its own
      if ((error as { code?: unknown } | null)?.code !== "ENOSPC") this.#failure ??= error as Error;
    };
    return createRegistryOn(storage, { now: () => this.#clock, limits, onError });
  }

  async run(): Promise<ModelReport> {
    const { upkeep } = this.#on(this.#makeInner());
    await upkeep.setPolicy({ scope: "policy", keepLast: 2, keep: ["latest"], untaggedDays: null, immutable: [] });
    await upkeep.setQuota("bound", quota);
    const { steps, checkEvery = 40 } = this.#options;
    for (let started = 0; started < steps; ) {
      for (let until = Math.min(steps, started + checkEvery); started < until; ) {
        if (this.#random.chance(0.02)) this.#phase = this.#nextPhase();
        this.#stepper.failures = this.#random.chance(0.1) ? 0.02 : 0;
        if (this.#running.size < atOnce) {
          started++;
          this.#begin();
          await this.#stepper.settle();
        }
        for (let turns = this.#random.below(12); turns > 0; turns--) await this.#stepper.advance();
        if (this.#random.chance(0.004)) this.#crash();
        // mostly a little, so that a push is never longer than the grace; seldom far beyond
        this.#clock += this.#random.chance(this.#phase.jump)
          ? this.#random.below(2 * grace)
          : this.#random.below(grace / 200);
        if (this.#failure !== null) throw this.#failure;
      }
      await this.#rest();
      await this.#check();
      if (this.#random.chance(0.2)) await this.#fixOrLoosen();
      this.#options.onProgress?.(started);
    }
    return { steps, calls: this.#calls, ...this.#counts };
  }

  /** The operator makes tags immutable, or lets them move again. To be called at rest, after a check. */
  async #fixOrLoosen(): Promise<void> {
    const { upkeep } = this.#on(this.#makeInner());
    if (this.#fixed !== null) {
      this.#fixed = null;
      await upkeep.removePolicy("fixed");
      return;
    }
    await upkeep.setPolicy({ scope: "fixed", keepLast: null, keep: [], untaggedDays: null, immutable });
    this.#fixed = new Map();
    for (const tag of tags) {
      const [seen] = this.#tags.get(`fixed/e:${tag}`)?.candidates() ?? [];
      if (seen !== undefined && seen !== "none") this.#fix("fixed/e", tag, seen);
    }
  }

  /** A tag was seen to stand for this, or somebody was told so: from here on it does, where it is immutable. */
  #fix(repository: string, tag: string, digest: Digest): void {
    if (this.#fixed === null || repository !== "fixed/e" || !matchesAny(tag, immutable)) return;
    const key = `${repository}:${tag}`;
    const before = this.#fixed.get(key) ?? digest;
    if (before !== digest) this.#fail(`${key} was moved from ${before}, though it is immutable`);
    this.#fixed.set(key, digest);
  }

  /** What was so when a request began that was then answered with 202. */
  #notFixed(fixed: Digest | undefined, doing: string): void {
    if (fixed !== undefined) this.#fail(`${doing} of an immutable tag was answered 202`);
  }

  /** All that runs comes to its end. */
  async #rest(): Promise<void> {
    this.#stepper.failures = 0;
    while (this.#running.size > 0) {
      if ((await this.#stepper.advance()) || (await this.#movesByItself())) continue;
      if (this.#running.size > 0) {
        throw new Error(`seed ${this.#options.seed}: ${this.#running.size} operations wait for ever`);
      }
    }
    if (this.#failure !== null) throw this.#failure;
  }

  /** Whether something comes of what is at a real disk outside of a step, such as an upload that is read again. */
  async #movesByItself(): Promise<boolean> {
    const before = this.#running.size;
    // a guard against a run that hangs, and no wait that anything is hoped of
    const until = performance.now() + 10_000;
    while (this.#stepper.idle && this.#running.size === before && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return !this.#stepper.idle || this.#running.size < before;
  }

  /** The process dies: what ran is forgotten, what the storage has stays. */
  #crash(): void {
    this.#counts.crashes++;
    this.#calls += this.#stepper.steps;
    this.#stepper.crash();
    this.#running.clear();
    const time = this.#time++;
    for (const cells of [this.#tags, this.#manifests, this.#links]) for (const cell of cells.values()) cell.cut(time);
    this.#stepper = new Stepper(this.#random);
    this.#registry = this.#start();
  }

  #begin(): void {
    const task = this.#operation().catch((error: unknown) => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    });
    const tracked = task.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  async #operation(): Promise<void> {
    const repository = this.#random.pick(repositories);
    const { mix, blobs } = this.#phase;
    const kinds = [
      () => this.#push(repository),
      () => this.#pushBlob(repository, this.#random.pick(blobs)),
      () => this.#mount(repository, this.#random.pick(repositories), this.#random.pick(blobs)),
      () => this.#deleteTag(repository, this.#random.pick(tags)),
      () => this.#deleteManifest(repository, this.#random.pick(this.#world.manifests)),
      () => this.#deleteBlob(repository, this.#random.pick(this.#world.blobs)),
      () => this.#abandon(repository, this.#random.pick(blobs)),
    ];
    let roll = this.#random.next();
    for (const [index, kind] of kinds.entries()) {
      roll -= mix[index] ?? 0;
      if (roll < 0) return void (await kind());
    }
    await this.#collect();
  }

  async #send(
    method: string,
    url: string,
    body: Uint8Array | null = null,
    type?: string,
    registry = this.#registry,
  ): Promise<{ readonly status: number; readonly body: Buffer; readonly headers: Readonly<Record<string, string>> }> {
    const headers: Record<string, string> = { "content-length": String(body?.length ?? 0) };
    if (type !== undefined) headers["content-type"] = type;
    const response = await registry.handle({ method, url, headers, body });
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    return { status: response.status, body: Buffer.concat(chunks), headers: response.headers };
  }

  #fail(what: string): never {
    throw new Error(`seed ${this.#options.seed}, after ${this.#stepper.steps} calls: ${what}`);
  }

  #cell<V>(cells: Map<string, Cell<V>>, key: string, initial: V): Cell<V> {
    const found = cells.get(key) ?? new Cell(initial);
    cells.set(key, found);
    return found;
  }

  /** One write: told or not, it ends with the answer. */
  async #write<V>(cell: Cell<V>, value: V, ok: number, send: () => Promise<{ readonly status: number }>, onlyFrom?: V) {
    const write = cell.begin(value, this.#time++, onlyFrom ?? null);
    const { status } = await send();
    write.end = this.#time++;
    write.acknowledged = status === ok;
    return status;
  }

  /** @param asked When the client asked, by the clock: the answer may have been long on its way. */
  #promise(repository: string, digest: Digest, asked: number): void {
    const key = `${repository}@${digest}`;
    this.#promised.set(key, Math.max(this.#promised.get(key) ?? 0, asked + grace));
  }

  /** 5xx is right where the disk was full; 403 where a quota is, 409 where a tag may not move. */
  #expectStatus(status: number, allowed: readonly number[], doing: string, repository = ""): void {
    if (status === 507 || allowed.includes(status)) return;
    if (status === 403 && repository.startsWith("bound/")) return void this.#counts.beyondQuota++;
    if (status === 409 && repository === "fixed/e" && this.#fixed !== null) return void this.#counts.immutable++;
    this.#fail(`${doing} was answered ${status}`);
  }

  async #pushBlob(repository: string, { digest, bytes }: Content): Promise<boolean> {
    const cell = this.#cell(this.#links, `${repository}@${digest}`, "none" as const);
    const base = `/v2/${repository}/blobs/uploads/`;
    let asked = this.#clock;
    const status = await this.#write(cell, "there", 201, async () => {
      if (this.#random.chance(0.4)) return await this.#send("POST", `${base}?digest=${digest}`, bytes);
      const begun = await this.#send("POST", base);
      if (begun.status !== 202) return begun;
      const location = begun.headers.location ?? "";
      const middle = this.#random.below(bytes.length);
      const patched = await this.#send("PATCH", location, bytes.subarray(0, middle));
      if (patched.status !== 202) return patched;
      asked = this.#clock;
      return await this.#send("PUT", `${location}?digest=${digest}`, bytes.subarray(middle));
    });
    // a session ends where the clock went far
    this.#expectStatus(status, [201, 404], "the push of a blob", repository);
    if (status !== 201) return false;
    this.#promise(repository, digest, asked);
    return true;
  }

  async #mount(repository: string, from: string, { digest }: Content): Promise<void> {
    const asked = this.#clock;
    const cell = this.#cell(this.#links, `${repository}@${digest}`, "none" as const);
    const status = await this.#write(cell, "there", 201, () =>
      this.#send("POST", `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`),
    );
    this.#expectStatus(status, [201, 202], "a mount", repository);
    if (status === 201) this.#promise(repository, digest, asked);
  }

  async #abandon(repository: string, { bytes }: Content): Promise<void> {
    const begun = await this.#send("POST", `/v2/${repository}/blobs/uploads/`);
    if (begun.status === 202) await this.#send("PATCH", begun.headers.location ?? "", bytes);
  }

  /** As clients do: what a HEAD says is there is not sent, then the manifest, by tag or by digest. */
  async #push(repository: string): Promise<void> {
    const manifest = this.#random.pick(this.#phase.manifests);
    await this.#pushManifest(repository, manifest, this.#random.chance(0.75) ? this.#random.pick(tags) : null);
  }

  async #pushManifest(repository: string, manifest: ManifestContent, tag: string | null): Promise<boolean> {
    const started = this.#clock;
    for (const blob of manifest.blobs) {
      const asked = this.#clock;
      const { status } = await this.#send("HEAD", `/v2/${repository}/blobs/${blob.digest}`);
      this.#expectStatus(status, [200, 404], "HEAD of a blob");
      if (status === 200) this.#promise(repository, blob.digest, asked);
      else if (!(await this.#pushBlob(repository, blob))) return false;
    }
    for (const inner of manifest.manifests) {
      const { status } = await this.#send("HEAD", `/v2/${repository}/manifests/${inner.digest}`);
      this.#expectStatus(status, [200, 404], "HEAD of a manifest");
      if (status !== 200 && !(await this.#pushManifest(repository, inner, null))) return false;
    }
    const { digest, bytes, mediaType } = manifest;
    const start = this.#time++;
    const cell = this.#cell(this.#manifests, `${repository}@${digest}`, "none" as const);
    const writes = [cell.begin("there", start)];
    const send = () => this.#send("PUT", `/v2/${repository}/manifests/${tag ?? digest}`, bytes, mediaType);
    const tagWrite = tag === null ? null : this.#cell(this.#tags, `${repository}:${tag}`, "none").begin(digest, start);
    const { status } = await send();
    const end = this.#time++;
    for (const write of [...writes, ...(tagWrite === null ? [] : [tagWrite])]) {
      write.end = end;
      write.acknowledged = status === 201;
    }
    if (status === 201) {
      this.#counts.acknowledged++;
      if (tag !== null) this.#fix(repository, tag, digest);
      return true;
    }
    this.#counts.refused++;
    // content may only be missing where a client deleted it, or where the push took longer than the grace
    const excused = this.#clock - started >= grace || this.#wasDeleted(repository, manifest);
    this.#expectStatus(status, excused ? [400] : [], "the push of a manifest whose content was there", repository);
    return false;
  }

  /** Whether a client may have taken some of a manifest's content away. */
  #wasDeleted(repository: string, manifest: ManifestContent): boolean {
    return (
      manifest.blobs.some(
        ({ digest }) => this.#links.get(`${repository}@${digest}`)?.candidates().has("none") ?? true,
      ) ||
      manifest.manifests.some(
        (inner) =>
          (this.#manifests.get(`${repository}@${inner.digest}`)?.candidates().has("none") ?? true) ||
          this.#wasDeleted(repository, inner),
      )
    );
  }

  async #deleteTag(repository: string, tag: string): Promise<void> {
    const cell = this.#cell(this.#tags, `${repository}:${tag}`, "none" as Digest | "none");
    const fixed = this.#fixed?.get(`${repository}:${tag}`);
    const status = await this.#write(cell, "none", 202, () =>
      this.#send("DELETE", `/v2/${repository}/manifests/${tag}`),
    );
    this.#expectStatus(status, [202, 404], "DELETE of a tag", repository);
    if (status === 202) this.#notFixed(fixed, "DELETE");
  }

  async #deleteManifest(repository: string, { digest }: ManifestContent): Promise<void> {
    const start = this.#time++;
    const fixed = tags.map((tag) => this.#fixed?.get(`${repository}:${tag}`)).find((one) => one === digest);
    const writes = tags.map((tag) =>
      this.#cell(this.#tags, `${repository}:${tag}`, "none" as Digest | "none").begin("none", start, digest),
    );
    const manifestWrite = this.#cell(this.#manifests, `${repository}@${digest}`, "none" as const).begin("none", start);
    const { status } = await this.#send("DELETE", `/v2/${repository}/manifests/${digest}`);
    const end = this.#time++;
    for (const write of [...writes, manifestWrite]) {
      write.end = end;
      write.acknowledged = status === 202;
    }
    this.#expectStatus(status, [202, 404], "DELETE of a manifest", repository);
    if (status === 202) this.#notFixed(fixed, "DELETE of the manifest");
  }

  async #deleteBlob(repository: string, { digest }: Content): Promise<void> {
    const cell = this.#cell(this.#links, `${repository}@${digest}`, "none" as "there" | "none");
    const status = await this.#write(cell, "none", 202, () =>
      this.#send("DELETE", `/v2/${repository}/blobs/${digest}`),
    );
    this.#expectStatus(status, [202, 404], "DELETE of a blob");
  }

  async #collect(): Promise<void> {
    this.#counts.collections++;
    try {
      const report = await this.#registry.upkeep.collect();
      this.#counts.removedBlobs += report.blobs.removed;
      this.#counts.removedManifests += report.manifests.removed;
    } catch (error) {
      const { code } = error as { code?: unknown };
      // two at once, or a full disk
      if (code !== "conflict" && code !== "ENOSPC" && code !== "no-space") throw error;
    }
  }

  /** Reads everything with a registry of its own, and compares it with what was promised. */
  async #check(): Promise<void> {
    this.#counts.checks++;
    const registry = this.#on(this.#makeInner());
    const get = (url: string) => this.#send("GET", url, null, undefined, registry);
    for (const repository of repositories) {
      const policy = repository.startsWith("policy/");
      for (const manifest of this.#world.manifests) {
        const key = `${repository}@${manifest.digest}`;
        const cell = this.#cell(this.#manifests, key, "none" as "there" | "none");
        const { status, body } = await get(`/v2/${repository}/manifests/${manifest.digest}`);
        const seen = status === 200 ? "there" : "none";
        if (status === 200 && !body.equals(manifest.bytes)) this.#fail(`${key} has other bytes`);
        // a policy may have taken it
        const gone = policy && seen === "none";
        if (!gone && !cell.candidates().has(seen)) this.#fail(`${key} is ${seen}, not ${[...cell.candidates()]}`);
        if (seen === "there") await this.#checkWhole(repository, manifest, get);
        cell.settle(seen, this.#time++);
      }
      for (const tag of tags) {
        const cell = this.#cell(this.#tags, `${repository}:${tag}`, "none" as Digest | "none");
        const { status, headers } = await get(`/v2/${repository}/manifests/${tag}`);
        const seen = status === 200 ? (headers["docker-content-digest"] as Digest) : "none";
        const gone = policy && seen === "none";
        if (!gone && !cell.candidates().has(seen)) {
          this.#fail(`${repository}:${tag} is ${seen}, not ${[...cell.candidates()]}`);
        }
        const fixed = this.#fixed?.get(`${repository}:${tag}`);
        if (fixed !== undefined && fixed !== seen) this.#fail(`${repository}:${tag} is immutable, and now ${seen}`);
        if (seen !== "none") this.#fix(repository, tag, seen);
        const target = this.#manifests.get(`${repository}@${seen}`);
        if (seen !== "none" && !target?.candidates().has("there")) this.#fail(`${repository}:${tag} leads nowhere`);
        cell.settle(seen, this.#time++);
      }
      for (const { digest, bytes } of this.#world.blobs) {
        const key = `${repository}@${digest}`;
        const cell = this.#cell(this.#links, key, "none" as "there" | "none");
        const { status, body } = await get(`/v2/${repository}/blobs/${digest}`);
        if (status === 200 && !body.equals(bytes)) this.#fail(`${key} has other bytes`);
        const candidates = cell.candidates();
        const kept = (this.#promised.get(key) ?? 0) > this.#clock && !candidates.has("none");
        if (kept && status !== 200) this.#fail(`${key} was promised and is gone`);
        if (status === 200 && !candidates.has("there")) this.#fail(`${key} is there, though nobody gave it`);
        if (status === 200) cell.settle("there", this.#time++);
        // The link of an upload that failed at its end stays, and leads nowhere: until a collection takes it, or
        // another repository brings the bytes.
        else cell.settleForNow("none", this.#time++);
      }
    }
    const held = (await registry.upkeep.quotas()).find(({ owner }) => owner === "bound")?.used ?? 0;
    if (held > quota) this.#fail(`bound holds ${held} bytes, with a quota of ${quota}`);
  }

  /** What a manifest names is there, but for what a client has deleted itself. */
  async #checkWhole(repository: string, manifest: ManifestContent, get: (url: string) => Promise<{ status: number }>) {
    for (const { digest } of manifest.blobs) {
      const { status } = await get(`/v2/${repository}/blobs/${digest}`);
      const cell = this.#links.get(`${repository}@${digest}`);
      if (status !== 200 && !cell?.candidates().has("none")) {
        this.#fail(`${repository}@${manifest.digest} has lost ${digest}`);
      }
    }
    for (const inner of manifest.manifests) {
      const { status } = await get(`/v2/${repository}/manifests/${inner.digest}`);
      const cell = this.#manifests.get(`${repository}@${inner.digest}`);
      if (status !== 200 && !cell?.candidates().has("none")) {
        this.#fail(`${repository}@${manifest.digest} has lost ${inner.digest}`);
      }
    }
  }
}
