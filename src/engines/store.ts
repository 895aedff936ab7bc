import type { TransferStore } from "../content/layer-cache.js";
import { readVerified } from "../content/verify.js";
import { layersSize, manifestReader, walkTree } from "../content/walk.js";
import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, parseDigest } from "../oci/digest.js";
import { parseImageConfig } from "../oci/manifest.js";
import { hostPlatform, normalizePlatform, type Platform } from "../oci/platform.js";
import type { EngineImage, EngineInfo, EngineReference, ExportOptions, ImportOptions, LocalEngine } from "./engine.js";
import { platformImage, presentPlatforms, presentRoot } from "./engine-content.js";
import { readName } from "./engine-image.js";
import { referenceText } from "./engine-reference.js";

/** A store that has images of its own: the layout on disk, or the one in memory. */
export type ImageStore = TransferStore & {
  entries(): Promise<Iterable<{ readonly name: string; readonly descriptor: Descriptor }>>;
  /** False where the name was not there. */
  untag(name: string): Promise<boolean>;
};

export interface StoreEngineOptions {
  /** Where it is, for people: the folder. */
  readonly endpoint?: string | undefined;
  /** As Node names it. @default that of the process */
  readonly architecture?: string | undefined;
}

/** Lading's own store as an engine: an OCI image layout, no daemon. The image ID is the digest of what a name points at. */
export class StoreEngine implements LocalEngine {
  readonly kind = "store";
  readonly #store: ImageStore;
  readonly #info: EngineInfo;

  constructor(store: ImageStore, options: StoreEngineOptions = {}) {
    this.#store = store;
    this.#info = {
      kind: this.kind,
      endpoint:
        options.endpoint ?? ("directory" in store && typeof store.directory === "string" ? store.directory : "store"),
      version: null,
      apiVersion: null,
      imageStore: "oci-layout",
      moves: "files",
      platform: hostPlatform(options.architecture ?? process.arch),
    };
  }

  async info(): Promise<EngineInfo> {
    return this.#info;
  }

  async list(signal?: AbortSignal): Promise<readonly EngineImage[]> {
    const images: EngineImage[] = [];
    for (const { name, descriptor } of await this.#store.entries()) {
      const local = readName(name);
      // Entries of other tools, with names that are none of an image, are kept and not shown.
      if (local !== null) images.push(await this.#describe(local, descriptor, signal));
    }
    return images;
  }

  async inspect(reference: EngineReference, signal?: AbortSignal): Promise<EngineImage | null> {
    const descriptor = await this.#resolve(reference, signal);
    if (descriptor === null) return null;
    return await this.#describe(typeof reference === "string" ? null : reference, descriptor, signal);
  }

  async #resolve(reference: EngineReference, signal?: AbortSignal): Promise<Descriptor | null> {
    if (typeof reference !== "string") return await this.#store.resolve(referenceText(reference), { signal });
    for (const { descriptor } of await this.#store.entries()) if (descriptor.digest === reference) return descriptor;
    return null;
  }

  async #require(reference: EngineReference, signal?: AbortSignal): Promise<Descriptor> {
    const descriptor = await this.#resolve(reference, signal);
    if (descriptor !== null) return descriptor;
    throw new LadingError("not-found", `the store has no image ${referenceText(reference)}`, {
      hint: "see the names it has with: lading images --engine store",
    });
  }

  /** An entry whose content is damaged or gone is still an entry: it is listed with what can be said of it. */
  async #describe(local: LocalImage | null, descriptor: Descriptor, signal?: AbortSignal): Promise<EngineImage> {
    const { digest } = descriptor;
    const unknown = { local, id: digest, digest, size: 0, created: null, platforms: [], diffIds: [] };
    try {
      const platforms = await presentPlatforms(this.#store, descriptor, signal);
      const [first] = platforms;
      const size = await this.#size(descriptor, signal);
      if (first === undefined) return { ...unknown, size };
      const image = await platformImage(this.#store, descriptor, this.#preferred(platforms) ?? first, signal);
      const bytes = await readVerified(this.#store, image.manifest.config, { limit: "config", signal });
      const { created } = parseImageConfig(bytes);
      return {
        ...unknown,
        size,
        created: utc(created),
        platforms,
        diffIds: platforms.length === 1 ? image.diffIds : [],
      };
    } catch (error) {
      if (signal?.aborted === true) throw error;
      return unknown;
    }
  }

  #preferred(platforms: readonly Platform[]): Platform | undefined {
    const { os, architecture } = normalizePlatform(this.#info.platform);
    return platforms.find((platform) => platform.os === os && platform.architecture === architecture);
  }

  /** Compressed bytes of the distinct layers of what is there. */
  async #size(root: Descriptor, signal?: AbortSignal): Promise<number> {
    const present = new Set<Digest>();
    const read = manifestReader(this.#store, signal);
    const collect = async (descriptor: Descriptor): Promise<void> => {
      if (!(await this.#store.has(descriptor, { signal }))) return;
      present.add(descriptor.digest);
      const { manifest } = await read(descriptor);
      if (manifest.kind === "index") for (const entry of manifest.manifests) await collect(entry);
    };
    await collect(root);
    const tree = await walkTree(root, read, { follow: ({ digest }) => present.has(digest) });
    return layersSize(tree.manifests.map(({ manifest }) => manifest));
  }

  async tag(reference: EngineReference, name: LocalImage, signal?: AbortSignal): Promise<void> {
    const descriptor = await this.#require(reference, signal);
    await this.#store.tag(descriptor, referenceText(name), { signal });
  }

  async remove(
    reference: EngineReference,
    options: { readonly force: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const descriptor = await this.#require(reference, options.signal);
    if (typeof reference !== "string") {
      // Only the name goes: the collection removes what nobody names any more.
      if (await this.#store.untag(referenceText(reference))) return;
      await this.#require(reference, options.signal);
      return;
    }
    const names: string[] = [];
    for (const entry of await this.#store.entries()) {
      if (entry.descriptor.digest === descriptor.digest) names.push(entry.name);
    }
    if (names.length > 1 && !options.force) {
      throw new LadingError("conflict", `${reference} has several names in the store: ${names.join(", ")}`, {
        digest: reference,
        hint: "remove them one by one, or all with --force",
      });
    }
    for (const name of names) await this.#store.untag(name);
  }

  async *exportImage(reference: EngineReference, options: ExportOptions): AsyncGenerator<Descriptor> {
    const { into, platform, signal } = options;
    const root = await this.#require(reference, signal);
    const content = await presentRoot(this.#store, root, platform, this.#info.platform, signal);
    for (const descriptor of content) {
      await this.#carry(this.#store, into, descriptor, signal);
      yield descriptor;
    }
  }

  async knownLayers(): Promise<ReadonlySet<Digest>> {
    return new Set();
  }

  async importImage(root: Descriptor, options: ImportOptions): Promise<{ readonly id: Digest }> {
    const { from, names, platform, signal } = options;
    const target = platform === null ? root : (await platformImage(from, root, platform, signal)).raw.descriptor;
    if ((from as object) !== this.#store) await this.#takeOver(from, target, signal);
    if (!(await this.#store.has(target, { signal }))) {
      throw new LadingError("not-found", `${target.digest} is not in the store`, { digest: target.digest });
    }
    for (const name of names) await this.#store.tag(target, referenceText(name), { signal });
    return { id: parseDigest(target.digest) };
  }

  /** Children first; what the other store does not have of an index is left out. */
  async #takeOver(from: TransferStore, descriptor: Descriptor, signal?: AbortSignal): Promise<void> {
    const tree = await walkTree(descriptor, manifestReader(from, signal), { follow: () => false });
    const [raw] = tree.manifests;
    if (raw?.manifest.kind === "index") {
      for (const entry of raw.manifest.manifests) {
        if (await from.has(entry, { signal })) await this.#takeOver(from, entry, signal);
      }
    }
    for (const blob of [...tree.blobs, descriptor]) await this.#carry(from, this.#store, blob, signal);
  }

  async #carry(from: TransferStore, into: TransferStore, descriptor: Descriptor, signal?: AbortSignal): Promise<void> {
    if ((from as object) === into) return;
    await into.put(descriptor, (offset, inner) => from.get(descriptor, { offset, signal: inner ?? signal }), {
      signal,
    });
  }

  async close(): Promise<void> {
    // The store is the client's, not the engine's.
  }
}

/** RFC 3339 in UTC; null for what is none. */
function utc(created: string | null): string | null {
  const date = created === null ? null : new Date(created);
  return date === null || Number.isNaN(date.getTime()) ? null : date.toISOString();
}
