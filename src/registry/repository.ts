import { Limiter } from "../content/limiter.js";
import type { ByteSource, ContentStore, FileBacked, PutOptions, PutResult, ReadOptions } from "../content/store.js";
import { readAll, verifyStream } from "../content/verify.js";
import { isLadingError, LadingError, type Side } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { type Manifest, parseManifest, type RawManifest } from "../oci/manifest.js";
import { isManifestType } from "../oci/media-types.js";
import { deleteBlob, hasBlob, readBlob } from "./blobs.js";
import type { Endpoint } from "./endpoint.js";
import {
  deleteManifest,
  headManifest,
  readManifest,
  readManifestBytes,
  type TagCondition,
  writeManifest,
} from "./manifests.js";
import { keepsReferrers, listReferrers, type ReferrersOptions } from "./referrers.js";
import { type ListOptions, listTags } from "./tags.js";
import { uploadBlob } from "./uploads.js";

interface SignalOption {
  readonly signal?: AbortSignal | undefined;
}

interface TagOptions extends SignalOption {
  /** The manifest's bytes. @default they are read from the repository */
  readonly bytes?: Uint8Array | undefined;
  /** @default none */
  readonly condition?: TagCondition | undefined;
}

/** A manifest that refers to another; null for all others. What can't be read is the registry's to judge. */
function withSubject(bytes: Uint8Array, mediaType: string): { manifest: Manifest; subject: Digest } | null {
  // Most have none, and need not be read for that.
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes("subject")) return null;
  try {
    const manifest = parseManifest(bytes, mediaType);
    return manifest.subject === null ? null : { manifest, subject: manifest.subject.digest };
  } catch {
    return null;
  }
}

/**
 * One repository of a registry as a content store: manifests are told from blobs by their media type. Errors
 * carry the status and the side that it stands on.
 */
export class Repository implements ContentStore, FileBacked {
  readonly #endpoint: Endpoint;
  /** Lists of referrers that clients keep are changed one at a time. */
  readonly #lists = new Limiter(1);
  /** Whether the registry keeps the lists of referrers itself; null where nobody has asked yet. */
  #listsAreKept: boolean | null = null;

  /** @internal Made by {@link RegistryClient.repository}. */
  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** `owner/name`, without the registry. */
  get name(): string {
    return this.#endpoint.name;
  }

  /** `host[:port]`; `docker.io` for Docker Hub. */
  get authority(): string {
    return this.#endpoint.authority;
  }

  get side(): Side | null {
    return this.#endpoint.side;
  }

  async has(descriptor: Descriptor, options: SignalOption = {}): Promise<boolean> {
    if (!isManifestType(descriptor.mediaType)) return await hasBlob(this.#endpoint, descriptor, options);
    return (await headManifest(this.#endpoint, descriptor.digest, options))?.size === descriptor.size;
  }

  async *get(descriptor: Descriptor, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    if (!isManifestType(descriptor.mediaType)) {
      yield* readBlob(this.#endpoint, descriptor, options);
      return;
    }
    const { offset = 0, signal } = options;
    const { bytes } = await readManifestBytes(this.#endpoint, descriptor.digest, { signal });
    if (bytes.length !== descriptor.size) {
      throw new LadingError("size-mismatch", `${descriptor.digest} has ${bytes.length} bytes, not ${descriptor.size}`, {
        side: this.side,
        digest: descriptor.digest,
      });
    }
    if (offset < bytes.length) yield bytes.subarray(offset);
  }

  async put(descriptor: Descriptor, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    const { mediaType, digest, size } = descriptor;
    if (!isManifestType(mediaType)) return await uploadBlob(this.#endpoint, descriptor, source, options);
    const { signal, onBytes } = options;
    const bytes = await readAll(verifyStream(source(0, signal), descriptor), "manifest", digest);
    // One with a subject is sent again: who sent it may have ended before it was among the referrers.
    const there = withSubject(bytes, mediaType) === null && (await this.has(descriptor, { signal }));
    if (there) return { outcome: "exists", transferred: 0 };
    await this.putManifest(bytes, mediaType, digest, { signal });
    onBytes?.(size);
    return { outcome: "stored", transferred: size };
  }

  /** The file of a blob, in a registry of this process that shares them; null otherwise. */
  async path(digest: Digest): Promise<string | null> {
    return (await this.#endpoint.sharing?.blobPath({ repository: this.name, digest })) ?? null;
  }

  async resolve(reference: string, options: SignalOption = {}): Promise<Descriptor | null> {
    return await headManifest(this.#endpoint, reference, options);
  }

  async tag(descriptor: Descriptor, reference: string, { signal, bytes, condition }: TagOptions = {}): Promise<void> {
    const content = bytes ?? (await readManifestBytes(this.#endpoint, descriptor.digest, { signal })).bytes;
    await this.putManifest(content, descriptor.mediaType, reference, { signal, condition });
  }

  /** What a tag or digest points at, or null. One request where the registry tells digest, type and size. */
  async head(reference: string, options: SignalOption = {}): Promise<Descriptor | null> {
    return await headManifest(this.#endpoint, reference, options);
  }

  /** @throws LadingError `not-found`, `digest-mismatch` where it is asked for by digest, `manifest-invalid`, … */
  async manifest(reference: string, options: SignalOption = {}): Promise<RawManifest> {
    return await readManifest(this.#endpoint, reference, options);
  }

  /** Puts a manifest's bytes, as they are, under a tag or their own digest. */
  async putManifest(
    bytes: Uint8Array,
    mediaType: string,
    reference: string,
    { signal, condition }: Omit<TagOptions, "bytes"> = {},
  ): Promise<Descriptor> {
    const write = { signal, condition };
    const { descriptor, referrerListed } = await writeManifest(this.#endpoint, bytes, mediaType, reference, write);
    const referrer = referrerListed ? null : withSubject(bytes, mediaType);
    if (referrer !== null && !(await this.#keepsReferrers(referrer.subject, { signal }))) {
      const { enterReferrer } = await import("./referrers-tag.js");
      const entry = { descriptor, manifest: referrer.manifest };
      await this.#lists.run(() => enterReferrer(this.#endpoint, referrer.subject, entry, { signal }), signal);
    }
    return descriptor;
  }

  /** Pages of tags, as the registry sorts them. @throws LadingError `not-found` for a repository that is not there */
  tags(options: ListOptions = {}): AsyncIterable<readonly string[]> {
    return listTags(this.#endpoint, options);
  }

  /** Deletes a manifest, and with it all its tags. @throws LadingError `not-found`, `unsupported` */
  async deleteManifest(digest: Digest, options: SignalOption = {}): Promise<void> {
    const subject = await this.#listedUnder(digest, options);
    await deleteManifest(this.#endpoint, digest, options);
    if (subject === null) return;
    const { leaveReferrer } = await import("./referrers-tag.js");
    try {
      await this.#lists.run(() => leaveReferrer(this.#endpoint, subject, digest, options), options.signal);
    } catch (error) {
      if (!isLadingError(error) || options.signal?.aborted) throw error;
      this.#endpoint.onWarning(
        `${digest} is deleted, and still in the list of its subject's referrers: ${error.message}`,
      );
    }
  }

  /** Deletes a tag and leaves the manifest. @throws LadingError `not-found`, `unsupported` where the registry can't */
  async deleteTag(tag: string, options: SignalOption = {}): Promise<void> {
    await deleteManifest(this.#endpoint, tag, options);
  }

  /** @throws LadingError `not-found`, `unsupported` */
  async deleteBlob(digest: Digest, options: SignalOption = {}): Promise<void> {
    await deleteBlob(this.#endpoint, digest, options);
  }

  /** The manifests that name this one as their subject. */
  async referrers(digest: Digest, options: ReferrersOptions = {}): Promise<readonly Descriptor[]> {
    const { descriptors, keptBy } = await listReferrers(this.#endpoint, digest, options);
    this.#listsAreKept = keptBy === "registry";
    return descriptors;
  }

  async #keepsReferrers(subject: Digest, options: SignalOption): Promise<boolean> {
    this.#listsAreKept ??= await keepsReferrers(this.#endpoint, subject, options);
    return this.#listsAreKept;
  }

  /** The subject in whose list, which clients keep, a manifest may be; null where there is none to be looked after. */
  async #listedUnder(digest: Digest, options: SignalOption): Promise<Digest | null> {
    if (this.#listsAreKept === true) return null;
    try {
      const { descriptor, bytes } = await readManifestBytes(this.#endpoint, digest, options);
      const subject = withSubject(bytes, descriptor.mediaType)?.subject ?? null;
      return subject === null || (await this.#keepsReferrers(subject, options)) ? null : subject;
    } catch (error) {
      // Who may delete need not be one who may read; and what is not there the deletion will say.
      if (!isLadingError(error) || options.signal?.aborted) throw error;
      return null;
    }
  }
}
