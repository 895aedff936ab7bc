import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import {
  children,
  parseDescriptor,
  parseImageConfig,
  parseManifest,
  type RawManifest,
  sniffManifestType,
} from "../oci/manifest.js";
import { isIndexType, isManifestType, mediaTypes } from "../oci/media-types.js";
import { choosePlatform, formatPlatform, isUnknownPlatform, type Platform } from "../oci/platform.js";
import type { ArchiveImage } from "./archive.js";
import type { ArchiveContents } from "./archive-contents.js";
import { archiveName, familiarName } from "./archive-name.js";
import type { ContentSource } from "./store.js";
import { type TarInput, writeTar } from "./tar.js";
import { invalidArchive } from "./tar-header.js";
import { readVerified } from "./verify.js";
import { isElsewhere } from "./walk.js";

const refName = "org.opencontainers.image.ref.name";
const containerdName = "io.containerd.image.name";
const containerdSubject = "io.containerd.manifest.subject";

/** What a root reaches, blobs first and the root last; null where something of it is not there. */
type Whole = readonly Descriptor[] | null;

/**
 * The images of an OCI layout in an archive, once all of it has passed. Blobs went to the store as they are; here it is found out
 * which of them belong to an image.
 * @throws LadingError `archive-invalid`, `manifest-invalid`, `not-found` where it has nothing for the platform
 */
export async function* finishOciArchive(
  contents: ArchiveContents,
  images: ArchiveImage[],
): AsyncGenerator<Descriptor, void, undefined> {
  const { passed } = contents;
  const tree = new ArchiveTree(contents);
  for (const { descriptor, names } of readIndex(contents)) {
    const { whole, narrowed } = await tree.root(descriptor);
    const root = whole.at(-1) as Descriptor;
    for (const found of whole) {
      if (found !== root && passed.has(found.digest)) continue;
      passed.add(found.digest);
      yield found;
    }
    images.push({ root, names, index: narrowed ? descriptor : null });
  }
}

interface NamedRoot {
  readonly descriptor: Descriptor;
  readonly names: readonly string[];
}

/** The entries of `index.json`, one per digest: an image with two names is listed twice. */
function readIndex(contents: ArchiveContents): readonly NamedRoot[] {
  let index: unknown;
  try {
    index = JSON.parse(contents.document("index.json").toString());
  } catch (cause) {
    throw invalidArchive("index.json of the archive is not JSON", cause);
  }
  const entries = typeof index === "object" && index !== null ? (index as { manifests?: unknown }).manifests : null;
  if (!Array.isArray(entries)) throw invalidArchive("index.json of the archive has no list of manifests");
  const roots = new Map<Digest, { descriptor: Descriptor; names: string[] }>();
  for (const entry of entries) {
    const descriptor = parseDescriptor(typed(contents, entry), "an entry of index.json");
    // What refers to an image (Docker adds its attestations so) is no image of its own.
    if (descriptor.annotations?.[containerdSubject] !== undefined) continue;
    const root = roots.get(descriptor.digest) ?? { descriptor, names: [] };
    const name = entryName(descriptor);
    if (name !== null && !root.names.includes(name)) root.names.push(name);
    roots.set(descriptor.digest, root);
  }
  return [...roots.values()];
}

/** Old programs leave the media type out: then the document tells. */
function typed(contents: ArchiveContents, entry: unknown): unknown {
  if (typeof entry !== "object" || entry === null || "mediaType" in entry) return entry;
  const path = `blobs/${String((entry as { digest?: unknown }).digest).replace(":", "/")}`;
  if (!contents.has(path)) return entry;
  return { ...entry, mediaType: sniffManifestType(JSON.parse(contents.document(path).toString())) };
}

/** The full name: containerd's, else the standard's where it is one; a bare tag names nothing. */
function entryName({ annotations }: Descriptor): string | null {
  const reference = annotations?.[refName];
  const name = annotations?.[containerdName] ?? (reference !== undefined && /[:/]/.test(reference) ? reference : null);
  return name === null ? null : familiarName(name);
}

/** Finds out what is there of the images in an archive. */
class ArchiveTree {
  readonly #contents: ArchiveContents;
  readonly #whole = new Map<Digest, Whole>();

  constructor(contents: ArchiveContents) {
    this.#contents = contents;
  }

  /** What goes out for a root: all of it, or the one platform that is wanted, or that alone is there. */
  async root(descriptor: Descriptor): Promise<{ whole: readonly Descriptor[]; narrowed: boolean }> {
    const { platform = null } = this.#contents.options;
    if (!isManifestType(descriptor.mediaType)) {
      throw new LadingError(
        "unsupported",
        `index.json of the archive names a ${descriptor.mediaType}, which is no image`,
      );
    }
    if (platform === null) {
      const whole = await this.#below(descriptor, 1);
      if (whole !== null) return { whole, narrowed: false };
    }
    const offered = await this.#images(descriptor, 1);
    const there: { readonly platform: Platform; readonly whole: readonly Descriptor[] }[] = [];
    for (const { image, platform } of offered) {
      const whole = await this.#below(image, 1);
      if (whole !== null) there.push({ platform, whole });
    }
    // Docker keeps an index whose other platforms it never had: what it has of it is the image.
    const [only] = there;
    const chosen = platform === null ? (there.length === 1 ? only : null) : choosePlatform(there, platform);
    if (chosen === null || chosen === undefined) throw this.#notThere(descriptor, platform, there);
    return { whole: chosen.whole, narrowed: chosen.whole.at(-1)?.digest !== descriptor.digest };
  }

  #notThere(root: Descriptor, wanted: Platform | null, there: readonly { readonly platform: Platform }[]): LadingError {
    const platforms = there.map(({ platform }) => formatPlatform(platform)).join(", ");
    if (wanted === null && platforms === "") return invalidArchive(`the archive has only a part of ${root.digest}`);
    const lacks = wanted === null ? "all platforms of its index" : `an image for ${formatPlatform(wanted)}`;
    return new LadingError("not-found", `the archive does not have ${lacks}`, {
      digest: root.digest,
      hint: `it has ${platforms || "no whole image"}; choose one with --platform`,
    });
  }

  /** The images below a root that are not attestations, with what they are for. */
  async #images(descriptor: Descriptor, depth: number): Promise<{ image: Descriptor; platform: Platform }[]> {
    if (isUnknownPlatform(descriptor.platform)) return [];
    const raw = await this.#manifest(descriptor);
    if (raw === null) return [];
    if (raw.manifest.kind === "index") {
      checkDepth(depth);
      const below = await Promise.all(raw.manifest.manifests.map((child) => this.#images(child, depth + 1)));
      return below.flat();
    }
    const platform = descriptor.platform ?? (await this.#configPlatform(raw.manifest.config));
    return platform === null ? [] : [{ image: { ...raw.descriptor }, platform }];
  }

  async #configPlatform(config: Descriptor): Promise<Platform | null> {
    if (!(await this.#there(config)) || config.size > limits.config) return null;
    const { into, signal } = this.#contents.options;
    return parseImageConfig(await readVerified(into, config, { limit: limits.config, signal })).platform;
  }

  async #below(descriptor: Descriptor, depth: number): Promise<Whole> {
    const known = this.#whole.get(descriptor.digest);
    if (known !== undefined) return known;
    const raw = await this.#manifest(descriptor);
    if (raw === null) return null;
    checkDepth(depth);
    const found = new Map<Digest, Descriptor>();
    const named = children(raw.manifest);
    if (named.length > limits.descriptors) {
      throw new LadingError("limit-exceeded", `an image of the archive names more than ${limits.descriptors} blobs`);
    }
    for (const child of named) {
      if (isElsewhere(child)) continue;
      const below = isManifestType(child.mediaType)
        ? await this.#below(child, depth + 1)
        : (await this.#there(child))
          ? [child]
          : null;
      if (below === null) {
        this.#whole.set(descriptor.digest, null);
        return null;
      }
      for (const each of below) found.set(each.digest, each);
    }
    const whole = [...blobsFirst(found.values()), raw.descriptor];
    this.#whole.set(descriptor.digest, whole);
    return whole;
  }

  async #manifest(descriptor: Descriptor): Promise<RawManifest | null> {
    if (!(await this.#there(descriptor))) return null;
    const { into, signal } = this.#contents.options;
    const bytes = await readVerified(into, descriptor, { limit: limits.manifest, signal });
    const { mediaType, digest, size } = descriptor;
    return { descriptor: { mediaType, digest, size }, bytes, manifest: parseManifest(bytes, mediaType) };
  }

  /** In the archive, or in the store already. */
  async #there(descriptor: Descriptor): Promise<boolean> {
    const { into, signal } = this.#contents.options;
    const seen = this.#contents.blobs.get(descriptor.digest);
    if (seen !== undefined && seen.size !== descriptor.size) {
      throw new LadingError(
        "size-mismatch",
        `${descriptor.digest} in the archive has ${seen.size} bytes, not ${descriptor.size}`,
        {
          digest: descriptor.digest,
        },
      );
    }
    return seen !== undefined || (await into.has(descriptor, { signal }));
  }
}

function checkDepth(depth: number): void {
  if (depth > limits.indexDepth) throw new LadingError("limit-exceeded", "the archive's indexes are nested too deep");
}

function blobsFirst(descriptors: Iterable<Descriptor>): readonly Descriptor[] {
  const all = [...descriptors];
  return [
    ...all.filter(({ mediaType }) => !isManifestType(mediaType)),
    ...all.filter(({ mediaType }) => isManifestType(mediaType)),
  ];
}

export interface OciArchiveImage {
  /** An index or an image manifest. */
  readonly root: Descriptor;
  /** A tag left out is `latest`. */
  readonly names: readonly (LocalImage | string)[];
}

export interface WriteOciArchiveOptions {
  /**
   * What is done about content below a root that the source does not have. `skip` leaves it out: an engine takes an index with the
   * platforms that are there, and layers that it has need not be sent. @default skip
   */
  readonly missing?: "skip" | "refuse" | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * An OCI image layout in a tar, as a stream: the index first, then every blob once. Names are in both annotations that are in use.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 * @throws LadingError `not-found` for a root that is not there; what the source throws
 */
export async function* writeOciArchive(
  images: readonly OciArchiveImage[],
  from: ContentSource,
  options: WriteOciArchiveOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const blobs = new Map<Digest, Descriptor>();
  const entries: Record<string, unknown>[] = [];
  for (const { root, names } of images) {
    await collect(root, from, { ...options, missing: "refuse" }, options.missing ?? "skip", blobs, 1);
    const { mediaType, digest, size } = root;
    if (names.length === 0) entries.push({ mediaType, digest, size });
    for (const name of names.map(archiveName)) {
      entries.push({ mediaType, digest, size, annotations: { [containerdName]: name, [refName]: name } });
    }
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: entries };
  yield* writeTar(layoutEntries(index, blobs.values(), from, options.signal));
}

async function* layoutEntries(
  index: object,
  blobs: Iterable<Descriptor>,
  from: ContentSource,
  signal: AbortSignal | undefined,
): AsyncGenerator<TarInput> {
  const layout = Buffer.from('{"imageLayoutVersion":"1.0.0"}');
  const document = Buffer.from(JSON.stringify(index));
  yield { name: "oci-layout", size: layout.byteLength, body: layout };
  yield { name: "index.json", size: document.byteLength, body: document };
  for (const folder of ["blobs/", "blobs/sha256/"]) yield { name: folder, type: "directory" };
  for (const blob of blobs) {
    const name = `blobs/${digestAlgorithm(blob.digest)}/${digestHex(blob.digest)}`;
    yield { name, size: blob.size, body: from.get(blob, { signal }) };
  }
}

/** What a root names and the source has, each once, manifests before what they name. */
async function collect(
  descriptor: Descriptor,
  from: ContentSource,
  options: WriteOciArchiveOptions,
  below: "skip" | "refuse",
  blobs: Map<Digest, Descriptor>,
  depth: number,
): Promise<void> {
  const { missing, signal } = options;
  if (blobs.has(descriptor.digest) || isElsewhere(descriptor)) return;
  if (!(await from.has(descriptor, { signal }))) {
    if (missing === "skip") return;
    throw new LadingError("not-found", `${descriptor.digest} is not there to be written`, {
      digest: descriptor.digest,
    });
  }
  blobs.set(descriptor.digest, descriptor);
  if (blobs.size > limits.descriptors) {
    throw new LadingError("limit-exceeded", `the images name more than ${limits.descriptors} pieces of content`);
  }
  if (!isIndexType(descriptor.mediaType) && !isManifestType(descriptor.mediaType)) return;
  checkDepth(depth);
  const bytes = await readVerified(from, descriptor, { limit: limits.manifest, signal });
  for (const child of children(parseManifest(bytes, descriptor.mediaType))) {
    await collect(child, from, { ...options, missing: below }, below, blobs, depth + 1);
  }
}
