import { posix } from "node:path";
import { LadingError } from "../errors.js";
import type { LayerProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestOf, isDigest } from "../oci/digest.js";
import { type LimitName, limits } from "../oci/limits.js";
import { mediaTypes } from "../oci/media-types.js";
import type { Platform } from "../oci/platform.js";
import { type ArchiveLayer, LayerIntake } from "./archive-layer.js";
import { sniffCompression } from "./decompress.js";
import type { ImageFormat, TransferStore } from "./layer-cache.js";
import { peek } from "./peek.js";
import type { TarEntry } from "./tar.js";
import { invalidArchive, shownName, tarBlock } from "./tar-header.js";
import { readAll, verifyStream } from "./verify.js";

/** An image that an archive holds. */
export interface ArchiveImage {
  readonly root: Descriptor;
  /** As people write them (`app:1`, not `docker.io/library/app:1`); empty where the archive names none. */
  readonly names: readonly string[];
  /** The index that the names point at, where it was narrowed to the one platform that is `root`; null else. */
  readonly index: Descriptor | null;
}

export interface ReadArchiveOptions {
  readonly into: TransferStore;
  /** The media types of manifests that have to be made: those of a docker-archive. */
  readonly format: ImageFormat;
  /** The one platform wanted of each image; null for all that there is. @default null */
  readonly platform?: Platform | null | undefined;
  /**
   * Which entries are which layers (path -> diff ID), where that is known before the archive says so. They are passed on as they
   * come, and those whose compressed form the store has are not compressed again. What they really are is checked nevertheless.
   */
  readonly layerNames?: ReadonlyMap<string, Digest> | undefined;
  /** The archive holds one image and nothing else, as an engine's export does: its blobs are passed on as they come. @default false */
  readonly sole?: boolean | undefined;
  /**
   * Reads an archive that is both (Docker from 25 on with a graph driver: an OCI layout with plain layers, and a `manifest.json`) as
   * a docker-archive, whose layers are compressed. @default false
   */
  readonly preferDockerArchive?: boolean | undefined;
  readonly progress?: LayerProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A blob of an OCI layout that is in the store now. */
export interface ArchiveBlob {
  readonly size: number;
}

const blobPath = /^blobs\/(sha256|sha512)\/([a-f0-9]+)$/;
const layerName = /\.(tar|tgz|tar\.gz|tar\.zst|tar\.gzip)$/;
/** Links are followed at most so far: Docker makes them one deep. */
const maxLinks = 8;

/**
 * What passed of an archive, by name: small JSON is kept in memory, everything else goes straight to the store, since what it is for
 * may be said only at the archive's end.
 */
export class ArchiveContents {
  readonly options: ReadArchiveOptions;
  readonly blobs = new Map<Digest, ArchiveBlob>();
  /** What was yielded already. */
  readonly passed = new Set<Digest>();
  readonly intake: LayerIntake;
  readonly #documents = new Map<string, Buffer>();
  readonly #layers = new Map<string, ArchiveLayer>();
  readonly #links = new Map<string, string>();
  #kept = 0;

  constructor(options: ReadArchiveOptions) {
    this.options = options;
    this.intake = new LayerIntake(options);
  }

  /** True where the archive has this JSON document. */
  has(name: string): boolean {
    return this.#documents.has(name);
  }

  /** Takes an entry in. The result can be passed on at once; null where that has to wait. */
  async add(entry: TarEntry): Promise<Descriptor | null> {
    const name = cleanName(entry.name);
    switch (entry.type) {
      case "directory":
        return null;
      case "symlink":
        this.#links.set(name, posix.join(posix.dirname(name), entry.linkName));
        return null;
      case "hardlink":
        this.#links.set(name, cleanName(entry.linkName));
        return null;
      case "file":
        return await this.#addFile(name, entry);
      default:
        throw invalidArchive(`${shownName(name)} in the archive is a ${entry.type}: this is no image`);
    }
  }

  async #addFile(name: string, entry: TarEntry): Promise<Descriptor | null> {
    const { head, stream } = await peek(entry.body, tarBlock);
    // A tar may begin with a file whose name does.
    const json = (head[0] === 0x7b || head[0] === 0x5b) && !looksLikeLayer(head);
    const limit = controlFiles.get(name);
    if (json || limit !== undefined) {
      if (entry.size <= limits[limit ?? "manifest"]) return await this.#addDocument(name, entry, stream);
      if (limit !== undefined) {
        const message = `${name} in the archive has ${entry.size} bytes, at most ${limits[limit]} are read`;
        throw new LadingError("limit-exceeded", message, { limit });
      }
    }
    const claimed = this.options.layerNames?.get(name);
    const match = blobPath.exec(name);
    const digest = match === null ? null : `${match[1]}:${match[2]}`;
    if (isDigest(digest) && (this.options.preferDockerArchive !== true || claimed === undefined)) {
      return await this.#addBlob(digest, entry.size, stream);
    }
    if (claimed === undefined && !layerName.test(name) && !looksLikeLayer(head)) return null;
    return await this.#addLayer(name, entry.size, stream, claimed ?? diffIdInName(name));
  }

  async #addDocument(name: string, { size }: TarEntry, stream: AsyncIterable<Uint8Array>): Promise<null> {
    const bytes = Buffer.from(await readAll(stream, size, name));
    const before = this.#documents.get(name);
    if (before !== undefined && !before.equals(bytes)) throw invalidArchive(`the archive has two different ${name}`);
    this.#kept += before === undefined ? size : 0;
    if (this.#kept > limits.archiveJson) {
      throw new LadingError("limit-exceeded", `the archive has more than ${limits.archiveJson} bytes of JSON`, {
        limit: "archiveJson",
      });
    }
    this.#documents.set(name, bytes);
    const match = blobPath.exec(name);
    if (match !== null) {
      const digest = digestOf(bytes, match[1] === "sha512" ? "sha512" : "sha256");
      if (digest !== `${match[1]}:${match[2]}`) throw wrongName(name, digest);
      await this.putBytes({ mediaType: mediaTypes.octetStream, digest, size }, bytes);
      this.blobs.set(digest, { size });
    }
    return null;
  }

  async #addBlob(digest: Digest, size: number, stream: AsyncIterable<Uint8Array>): Promise<Descriptor | null> {
    const descriptor: Descriptor = { mediaType: mediaTypes.octetStream, digest, size };
    const { into, signal, progress } = this.options;
    if (this.blobs.has(digest)) {
      // The same once more is one entry; another under its name would pass unseen, since the store has the first.
      for await (const _chunk of verifyStream(stream, descriptor));
      return null;
    }
    let opened = false;
    await into.put(
      descriptor,
      (offset) => {
        // A store may try again where the bytes were wrong; an archive passes once.
        if (opened) throw new LadingError("digest-mismatch", `${digest} in the archive has other content`, { digest });
        opened = true;
        return from(stream, offset);
      },
      { signal, onBytes: (stored) => progress?.report(digest, "exporting", stored, size) },
    );
    this.blobs.set(digest, { size });
    if (this.options.sole !== true || this.passed.has(digest)) return null;
    this.passed.add(digest);
    return descriptor;
  }

  async #addLayer(
    name: string,
    size: number,
    stream: AsyncIterable<Uint8Array>,
    claimed: Digest | null,
  ): Promise<Descriptor | null> {
    const layer = await this.intake.take(stream, { name, size, claimed });
    const before = this.#layers.get(name);
    if (before !== undefined && before.diffId !== layer.diffId) {
      throw invalidArchive(`the archive has two different ${name}`);
    }
    this.#layers.set(name, layer);
    // Known to be a layer of the image by the engine's word; else the archive's end decides.
    if (this.options.layerNames?.has(name) !== true || this.passed.has(layer.descriptor.digest)) return null;
    this.passed.add(layer.descriptor.digest);
    return layer.descriptor;
  }

  /** A JSON document by the name that another one gives. @throws LadingError `archive-invalid` */
  document(name: string): Buffer {
    const found = this.#follow(name, (key) => this.#documents.get(key));
    if (found === null) throw invalidArchive(`${shownName(name)}, which the archive names, is not in it`);
    return found;
  }

  /** A layer by the name that a document gives; null where it is not there. */
  async layer(name: string, claimed: Digest | null): Promise<ArchiveLayer | null> {
    const found = this.#follow(name, (key) => this.#layers.get(key));
    if (found !== null) return found;
    // Layers among the blobs of a layout went to the store as they were.
    const match = this.#follow(name, (key) => blobPath.exec(key));
    const digest = match === null ? null : `${match[1]}:${match[2]}`;
    const blob = isDigest(digest) ? this.blobs.get(digest) : undefined;
    if (blob === undefined || !isDigest(digest)) return null;
    const descriptor: Descriptor = { mediaType: mediaTypes.octetStream, digest, size: blob.size };
    const stream = this.options.into.get(descriptor, { signal: this.options.signal });
    return await this.intake.take(stream, { name, size: blob.size, claimed });
  }

  async putBytes(descriptor: Descriptor, bytes: Uint8Array): Promise<void> {
    const source = async function* (offset: number) {
      yield bytes.subarray(offset);
    };
    await this.options.into.put(descriptor, source, { signal: this.options.signal });
  }

  #follow<Found>(name: string, find: (key: string) => Found | null | undefined): Found | null {
    let key: string | undefined = referredName(name);
    for (let steps = 0; key !== undefined; steps++) {
      const found = find(key);
      if (found !== undefined && found !== null) return found;
      if (steps > maxLinks) throw invalidArchive(`${shownName(name)} in the archive is a link without an end`);
      key = this.#links.get(key);
    }
    return null;
  }
}

/** Files that are read whatever they begin with, and how much of them. */
const controlFiles: ReadonlyMap<string, LimitName> = new Map([
  ["manifest.json", "archiveManifest"],
  ["index.json", "layoutIndex"],
  ["oci-layout", "archiveHeader"],
  ["repositories", "archiveManifest"],
]);

/** `./` at the front and `/` at the end mean nothing. A name that points outside belongs to no image. */
function cleanName(name: string): string {
  const clean = name.replace(/^(\.\/+)+/, "").replace(/\/+$/, "");
  if (clean.startsWith("/") || clean.split("/").includes("..")) {
    throw invalidArchive(`${shownName(name)} in the archive points outside of it`);
  }
  return clean;
}

/** A name that a document of the archive gives: it is looked up, and must be one that an entry can have. */
function referredName(name: string): string {
  if (name === "" || name.includes("\\") || name.includes("\0")) {
    throw invalidArchive(`${shownName(name)} is no name of an entry`);
  }
  return cleanName(name);
}

/** `<hex>.tar` is how Podman and others name a layer: by its diff ID. It is only taken for a hint. */
function diffIdInName(name: string): Digest | null {
  const match = /^([a-f0-9]{64})\.tar$/.exec(name);
  const digest = match === null ? null : `sha256:${match[1]}`;
  return isDigest(digest) ? digest : null;
}

function looksLikeLayer(head: Uint8Array): boolean {
  if (sniffCompression(head) !== "none") return true;
  return Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString("latin1", 257, 262) === "ustar";
}

function wrongName(name: string, digest: Digest): LadingError {
  return new LadingError("digest-mismatch", `${name} in the archive has the content of ${digest}`, { digest });
}

async function* from(stream: AsyncIterable<Uint8Array>, offset: number): AsyncGenerator<Uint8Array, void, undefined> {
  let skip = offset;
  for await (const chunk of stream) {
    const rest = chunk.subarray(Math.min(skip, chunk.byteLength));
    skip -= chunk.byteLength - rest.byteLength;
    if (rest.byteLength > 0) yield rest;
  }
}
