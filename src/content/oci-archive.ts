import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestAlgorithm, digestHex, isDigest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { children, parseDescriptor, parseManifest, sniffManifestType } from "../oci/manifest.js";
import { isManifestType, mediaTypes } from "../oci/media-types.js";
import type { ArchiveContents, ArchiveImage } from "./archive-contents.js";
import { archiveName, familiarName } from "./archive-name.js";
import { ArchiveTree, checkDepth } from "./archive-tree.js";
import type { ContentSource } from "./store.js";
import { type TarInput, writeTar } from "./tar.js";
import { invalidArchive } from "./tar-header.js";
import { readVerified } from "./verify.js";
import { isElsewhere } from "./walk.js";

const refName = "org.opencontainers.image.ref.name";
const containerdName = "io.containerd.image.name";
const containerdSubject = "io.containerd.manifest.subject";

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
  const { digest } = entry as { readonly digest?: unknown };
  const path = isDigest(digest) ? `blobs/${digest.replace(":", "/")}` : null;
  if (path === null || !contents.has(path)) return entry;
  let document: unknown;
  try {
    document = JSON.parse(contents.document(path).toString());
  } catch {
    // No JSON is no manifest.
    return entry;
  }
  return { ...entry, mediaType: sniffManifestType(document) };
}

/** The full name: containerd's, else the standard's where it is one; a bare tag names nothing. */
function entryName({ annotations }: Descriptor): string | null {
  const reference = annotations?.[refName];
  const name = annotations?.[containerdName] ?? (reference !== undefined && /[:/]/.test(reference) ? reference : null);
  return name === null ? null : familiarName(name);
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
    await collect(root, { from, blobs, ...options }, 1);
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

interface Collecting extends WriteOciArchiveOptions {
  readonly from: ContentSource;
  /** What was found, each once, manifests before what they name. */
  readonly blobs: Map<Digest, Descriptor>;
}

/** Finds what a root names and the source has. The root itself has to be there. */
async function collect(descriptor: Descriptor, collecting: Collecting, depth: number): Promise<void> {
  const { from, blobs, missing = "skip", signal } = collecting;
  if (blobs.has(descriptor.digest) || isElsewhere(descriptor)) return;
  if (!(await from.has(descriptor, { signal }))) {
    if (missing === "skip" && depth > 1) return;
    throw new LadingError("not-found", `${descriptor.digest} is not there to be written`, {
      digest: descriptor.digest,
    });
  }
  blobs.set(descriptor.digest, descriptor);
  if (blobs.size > limits.descriptors) {
    throw new LadingError("limit-exceeded", `the images name more than ${limits.descriptors} pieces of content`, {
      limit: "descriptors",
    });
  }
  if (!isManifestType(descriptor.mediaType)) return;
  checkDepth(depth);
  const bytes = await readVerified(from, descriptor, { limit: "manifest", signal });
  for (const child of children(parseManifest(bytes, descriptor.mediaType))) await collect(child, collecting, depth + 1);
}
