import { LadingError, throwIfAborted } from "../errors.js";
import { bareDescriptor, type Descriptor } from "../oci/descriptor.js";
import { type Digest, digestOf } from "../oci/digest.js";
import { InFlight } from "./in-flight.js";
import type { ContentIngest, ImageFormat, IngestOptions, LayerCache } from "./layer-cache.js";
import { retryMismatchOnce } from "./mismatch.js";
import type { ByteSource, ContentStore, PutOptions, PutResult, ReadOptions } from "./store.js";
import { readAll, verifyStream } from "./verify.js";

/** The content store in memory: the same behaviour as the layout on disk, but for what outlives a process. */
export class MemoryStore implements ContentStore, LayerCache, ContentIngest {
  readonly #puts = new InFlight<Digest>();
  readonly #blobs = new Map<Digest, Uint8Array>();
  readonly #names = new Map<string, Descriptor>();
  readonly #layers = new Map<Digest, Descriptor>();
  readonly #manifests = new Map<string, Descriptor>();

  async has(descriptor: Descriptor): Promise<boolean> {
    return this.#blobs.get(descriptor.digest)?.byteLength === descriptor.size;
  }

  async *get(descriptor: Descriptor, { signal, offset = 0 }: ReadOptions = {}): AsyncGenerator<Uint8Array> {
    throwIfAborted(signal);
    const bytes = this.#blobs.get(descriptor.digest);
    if (bytes === undefined) throw notFound(descriptor.digest);
    if (bytes.byteLength !== descriptor.size) {
      throw new LadingError("size-mismatch", `${descriptor.digest} has ${bytes.byteLength} bytes here`, {
        digest: descriptor.digest,
      });
    }
    for (let at = offset; at < bytes.byteLength; at += chunkSize) {
      throwIfAborted(signal);
      yield bytes.subarray(at, at + chunkSize);
    }
  }

  async put(descriptor: Descriptor, source: ByteSource, options: PutOptions = {}): Promise<PutResult> {
    const { signal, onRetry } = options;
    const exists = async (): Promise<PutResult | null> =>
      (await this.has(descriptor)) ? { outcome: "exists", transferred: 0 } : null;
    const take = async (report: (stored: number) => void): Promise<PutResult> => {
      let transferred = 0;
      const bytes = await retryMismatchOnce(async () => {
        const counted = tap(verifyStream(source(0, signal), descriptor), signal, (stored, chunk) => {
          transferred += chunk;
          report(stored);
        });
        return await readAll(counted, descriptor.size, descriptor.digest);
      }, onRetry);
      // A copy: the source may keep the buffer that it gave.
      this.#blobs.set(descriptor.digest, new Uint8Array(bytes));
      return { outcome: "stored", transferred };
    };
    throwIfAborted(signal);
    return (await exists()) ?? (await this.#puts.run(descriptor.digest, options, take, exists));
  }

  async ingest(
    mediaType: string,
    source: AsyncIterable<Uint8Array>,
    { signal, onBytes }: IngestOptions = {},
  ): Promise<Descriptor> {
    const counted = tap(source, signal, (stored) => onBytes?.(stored));
    const bytes = new Uint8Array(await readAll(counted, Number.MAX_SAFE_INTEGER));
    const digest = digestOf(bytes);
    this.#blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.byteLength };
  }

  async resolve(reference: string): Promise<Descriptor | null> {
    return this.#names.get(reference) ?? null;
  }

  async tag(descriptor: Descriptor, reference: string): Promise<void> {
    if (!(await this.has(descriptor))) throw notFound(descriptor.digest);
    this.#names.set(reference, bareDescriptor(descriptor));
  }

  async compressedLayer(diffId: Digest): Promise<Descriptor | null> {
    return this.#layers.get(diffId) ?? null;
  }

  async rememberLayer(diffId: Digest, compressed: Descriptor): Promise<void> {
    this.#layers.set(diffId, bareDescriptor(compressed));
  }

  async manifestFor(imageId: Digest, format: ImageFormat | "original", platform: string): Promise<Descriptor | null> {
    return this.#manifests.get(`${imageId} ${format} ${platform}`) ?? null;
  }

  async rememberManifest(
    imageId: Digest,
    format: ImageFormat | "original",
    platform: string,
    manifest: Descriptor,
  ): Promise<void> {
    this.#manifests.set(`${imageId} ${format} ${platform}`, bareDescriptor(manifest));
  }

  /** The images by name. */
  async entries(): Promise<readonly { readonly name: string; readonly descriptor: Descriptor }[]> {
    return [...this.#names].map(([name, descriptor]) => ({ name, descriptor }));
  }

  /** Takes a name away. False where it was not there. */
  async untag(name: string): Promise<boolean> {
    return this.#names.delete(name);
  }

  /** Forgets a blob, whoever refers to it. False where it was not there. */
  async delete(digest: Digest): Promise<boolean> {
    return this.#blobs.delete(digest);
  }
}

const chunkSize = 1024 * 1024;

function notFound(digest: Digest): LadingError {
  return new LadingError("not-found", `${digest} is not in the store`, { digest });
}

async function* tap(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
  see: (total: number, chunk: number) => void,
): AsyncGenerator<Uint8Array> {
  let total = 0;
  for await (const chunk of source) {
    throwIfAborted(signal);
    total += chunk.byteLength;
    see(total, chunk.byteLength);
    yield chunk;
  }
}
