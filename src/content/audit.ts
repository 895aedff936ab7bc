import { ioError, isLadingError, type LadingErrorJson } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { children, parseManifest } from "../oci/manifest.js";
import { isIndexType, isManifestType } from "../oci/media-types.js";
import { isUnknownPlatform } from "../oci/platform.js";
import type { LayoutStore } from "./layout.js";
import { readVerified } from "./verify.js";
import { isElsewhere } from "./walk.js";

/**
 * `corrupt`: the bytes are not what the name says. `unreadable`: the disk does not give them. `missing`: an image needs it, and it is
 * not there. `invalid`: it is what it is called, and no image can be made of it. `index`: `index.json` itself.
 */
export type ProblemKind = "corrupt" | "unreadable" | "missing" | "invalid" | "index";

/** What is wrong with one blob, or with the index. */
export interface StoreProblem {
  readonly kind: ProblemKind;
  /** Null for the index. */
  readonly digest: Digest | null;
  /** As an image names it; null for what none does. */
  readonly descriptor: Descriptor | null;
  /** The images that are not whole because of it. */
  readonly images: readonly AuditedImage[];
  readonly message: string;
}

/** An image of the store: a name and what it points at. */
export interface AuditedImage {
  /** Null for an entry of `index.json` without one. */
  readonly name: string | null;
  readonly descriptor: Descriptor;
}

export interface Audit {
  readonly images: readonly AuditedImage[];
  readonly problems: readonly StoreProblem[];
  /** Blobs that were read, and their bytes. */
  readonly checked: { readonly blobs: number; readonly bytes: number };
}

export interface AuditOptions {
  /** Only what these images need. Default: everything that is in the store. */
  readonly only?: ((image: AuditedImage) => boolean) | null;
  /** Blobs that were read before and are what they are called. What this run finds is added. */
  readonly sound?: Set<Digest>;
  /** Bytes that have been read, and bytes that will be, as far as that is known. */
  readonly onBytes?: ((current: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads every blob and compares it with its name, and walks down every image. Nothing is changed, and nothing is locked: what goes or
 * comes meanwhile is no problem.
 * @throws LadingError `cancelled`
 */
export async function audit(store: LayoutStore, options: AuditOptions = {}): Promise<Audit> {
  return await new Auditor(store, options).run();
}

type BlobState =
  | { readonly kind: "sound"; readonly size: number }
  | { readonly kind: "missing"; readonly size: number }
  | { readonly kind: "corrupt" | "unreadable"; readonly size: number; readonly message: string };

interface Finding {
  readonly kind: ProblemKind;
  readonly digest: Digest | null;
  readonly message: string;
  descriptor: Descriptor | null;
  readonly images: Set<AuditedImage>;
}

class Auditor {
  readonly #store: LayoutStore;
  readonly #options: AuditOptions;
  readonly #sound: Set<Digest>;
  readonly #states = new Map<Digest, BlobState>();
  readonly #children = new Map<string, readonly Descriptor[] | LadingErrorJson>();
  readonly #findings = new Map<string, Finding>();
  #aside: ReadonlySet<Digest | null> = new Set();
  #current = 0;
  #total = 0;
  #blobs = 0;

  constructor(store: LayoutStore, options: AuditOptions) {
    this.#store = store;
    this.#options = options;
    this.#sound = options.sound ?? new Set();
  }

  async run(): Promise<Audit> {
    const { only = null } = this.#options;
    const all = await this.#images();
    const images = only === null ? all : all.filter(only);
    this.#aside = new Set((await this.#store.quarantined()).map(({ digest }) => digest));
    if (only === null)
      for await (const blob of this.#store.blobs.list()) this.#total += this.#unread(blob.digest, blob);
    for (const image of images) await this.#visit(image.descriptor, image, 1, new Set());
    if (only === null) {
      for await (const { digest } of this.#store.blobs.list()) {
        const state = await this.#state(digest);
        if (state.kind === "corrupt" || state.kind === "unreadable") this.#find(state.kind, digest, state.message);
      }
    }
    return { images, problems: await this.#problems(), checked: { blobs: this.#blobs, bytes: this.#current } };
  }

  async #images(): Promise<readonly AuditedImage[]> {
    try {
      const named: AuditedImage[] = [...(await this.#store.entries())];
      const digests = new Set(named.map(({ descriptor }) => descriptor.digest));
      const nameless = (await this.#store.roots()).filter(({ digest }) => !digests.has(digest));
      return [...named, ...nameless.map((descriptor) => ({ name: null, descriptor }))];
    } catch (error) {
      if (!isLadingError(error)) throw error;
      this.#find("index", null, error.message);
      return [];
    }
  }

  /** What is gone by now, since its image was removed meanwhile, is no problem of it any more. */
  async #problems(): Promise<readonly StoreProblem[]> {
    const findings = [...this.#findings.values()];
    if (findings.some(({ kind }) => kind === "missing")) {
      const still = new Set((await this.#store.roots()).map(({ digest }) => digest));
      for (const { kind, images } of findings) {
        if (kind !== "missing") continue;
        for (const image of images) if (!still.has(image.descriptor.digest)) images.delete(image);
      }
    }
    return findings
      .filter(({ kind, images }) => kind !== "missing" || images.size > 0)
      .map((finding) => ({ ...finding, images: [...finding.images] }));
  }

  async #visit(descriptor: Descriptor, image: AuditedImage, depth: number, seen: Set<Digest>): Promise<void> {
    const { digest, mediaType, size } = descriptor;
    if (seen.has(digest) || isElsewhere(descriptor)) return;
    seen.add(digest);
    const state = await this.#state(digest);
    if (state.kind === "missing") return this.#find("missing", digest, "it is not in the store", descriptor, image);
    if (state.kind !== "sound") return this.#find(state.kind, digest, state.message, descriptor, image);
    if (state.size !== size) {
      const message = `it has ${state.size} bytes, and is named with ${size}`;
      return this.#find("invalid", digest, message, descriptor, image);
    }
    if (!isManifestType(mediaType)) return;
    if (depth > limits.indexDepth && isIndexType(mediaType)) {
      return this.#find("invalid", digest, "its indexes are nested too deep", descriptor, image);
    }
    const below = await this.#below(descriptor);
    if ("message" in below) return this.#find("invalid", digest, below.message, descriptor, image);
    for (const child of isIndexType(mediaType) ? await this.#present(below) : below) {
      await this.#visit(child, image, depth + 1, seen);
    }
  }

  /** A layout may hold some platforms of an index, but not none; what was put aside had been there. */
  async #present(entries: readonly Descriptor[]): Promise<readonly Descriptor[]> {
    const images = entries.filter(({ platform }) => !isUnknownPlatform(platform));
    const present: Descriptor[] = [];
    for (const entry of entries) {
      const { kind } = await this.#state(entry.digest);
      if (kind !== "missing" || this.#aside.has(entry.digest)) present.push(entry);
    }
    return images.length > 0 && !images.some((entry) => present.includes(entry)) ? entries : present;
  }

  async #below(descriptor: Descriptor): Promise<readonly Descriptor[] | LadingErrorJson> {
    const key = `${descriptor.mediaType} ${descriptor.digest}`;
    const known = this.#children.get(key);
    if (known !== undefined) return known;
    const { signal } = this.#options;
    let below: readonly Descriptor[] | LadingErrorJson;
    try {
      const bytes = await readVerified(this.#store.blobs, descriptor, { limit: "manifest", signal });
      below = children(parseManifest(bytes, descriptor.mediaType));
    } catch (error) {
      if (!isLadingError(error) || signal?.aborted === true) throw error;
      below = error.toJSON();
    }
    this.#children.set(key, below);
    return below;
  }

  #find(
    kind: ProblemKind,
    digest: Digest | null,
    message: string,
    descriptor?: Descriptor,
    image?: AuditedImage,
  ): void {
    const key = `${kind} ${digest}`;
    const finding = this.#findings.get(key) ?? { kind, digest, message, descriptor: null, images: new Set() };
    finding.descriptor ??= descriptor ?? null;
    if (image !== undefined) finding.images.add(image);
    this.#findings.set(key, finding);
  }

  #unread(digest: Digest, { size }: { readonly size: number }): number {
    return this.#sound.has(digest) ? 0 : size;
  }

  /** Reads a blob, once. */
  async #state(digest: Digest): Promise<BlobState> {
    let state = this.#states.get(digest);
    if (state === undefined) {
      state = await this.#read(digest);
      this.#states.set(digest, state);
    }
    return state;
  }

  async #read(digest: Digest): Promise<BlobState> {
    const { signal, onBytes, only } = this.#options;
    const { blobs } = this.#store;
    let size = 0;
    try {
      const blob = await blobs.stat(digest);
      if (blob === null) return { kind: "missing", size };
      size = blob.size;
      if (this.#sound.has(digest)) return { kind: "sound", size };
      if (only) this.#total += size;
      const read = (bytes: number) => {
        this.#current += bytes;
        onBytes?.(this.#current, Math.max(this.#total, this.#current));
      };
      const good = await blobs.check(blob, { signal, onBytes: read });
      this.#blobs += 1;
      if (!good) return { kind: "corrupt", size, message: `its ${size} bytes are not what it is called` };
      this.#sound.add(digest);
      return { kind: "sound", size };
    } catch (thrown) {
      if (signal?.aborted === true) throw thrown;
      const error = ioError(thrown, `reading ${digest}`);
      if (error.code === "not-found") return { kind: "missing", size };
      return { kind: "unreadable", size, message: error.message };
    }
  }
}
