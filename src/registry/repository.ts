import type { ByteSource, ContentStore, FileBacked, PutOptions, PutResult, ReadOptions } from "../content/store.js";
import { readAll, verifyStream } from "../content/verify.js";
import { LadingError, type Side } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import type { RawManifest } from "../oci/manifest.js";
import { isManifestType } from "../oci/media-types.js";
import { deleteBlob, hasBlob, readBlob } from "./blobs.js";
import type { Endpoint } from "./endpoint.js";
import { deleteManifest, headManifest, readManifest, readManifestBytes, writeManifest } from "./manifests.js";
import { listReferrers, type ReferrersOptions } from "./referrers.js";
import { type ListOptions, listTags } from "./tags.js";
import { uploadBlob } from "./uploads.js";

interface SignalOption {
  readonly signal?: AbortSignal | undefined;
}

/**
 * One repository of a registry as a content store: manifests are told from blobs by their media type. Errors
 * carry the status and the side that it stands on.
 */
export class Repository implements ContentStore, FileBacked {
  readonly #endpoint: Endpoint;

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
    if (await this.has(descriptor, { signal })) return { outcome: "exists", transferred: 0 };
    const bytes = await readAll(verifyStream(source(0, signal), descriptor), limits.manifest, digest);
    await writeManifest(this.#endpoint, bytes, mediaType, digest, { signal });
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

  async tag(
    descriptor: Descriptor,
    reference: string,
    { signal, bytes }: { readonly signal?: AbortSignal | undefined; readonly bytes?: Uint8Array | undefined } = {},
  ): Promise<void> {
    const content = bytes ?? (await readManifestBytes(this.#endpoint, descriptor.digest, { signal })).bytes;
    await writeManifest(this.#endpoint, content, descriptor.mediaType, reference, { signal });
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
    options: SignalOption = {},
  ): Promise<Descriptor> {
    return await writeManifest(this.#endpoint, bytes, mediaType, reference, options);
  }

  /** Pages of tags, as the registry sorts them. @throws LadingError `not-found` for a repository that is not there */
  tags(options: ListOptions = {}): AsyncIterable<readonly string[]> {
    return listTags(this.#endpoint, options);
  }

  /** Deletes a manifest, and with it all its tags. @throws LadingError `not-found`, `unsupported` */
  async deleteManifest(digest: Digest, options: SignalOption = {}): Promise<void> {
    await deleteManifest(this.#endpoint, digest, options);
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
    return await listReferrers(this.#endpoint, digest, options);
  }
}
