import { LadingError } from "../errors.js";
import type { LayerProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import { createHasher, type Digest } from "../oci/digest.js";
import { layerCompression, mediaTypes } from "../oci/media-types.js";
import { gzipStream } from "./compress.js";
import { type Compression, decompress, sniffCompression } from "./decompress.js";
import type { ImageFormat, TransferStore } from "./layer-cache.js";
import { peek } from "./peek.js";

/** A layer that came without a digest, and what it became in the store. */
export interface ArchiveLayer {
  /** Hashed here, whatever anybody claimed. */
  readonly diffId: Digest;
  readonly descriptor: Descriptor;
}

export interface LayerIntakeOptions {
  readonly into: TransferStore;
  readonly format: ImageFormat;
  readonly progress?: LayerProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface LayerClaim {
  readonly name: string;
  /** Bytes of the stream. */
  readonly size: number;
  /** What the layer should be. */
  readonly claimed: Digest | null;
}

const layerTypes = {
  docker: { none: mediaTypes.dockerLayer, gzip: mediaTypes.dockerLayerGzip },
  oci: { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip },
} as const;

/** Takes layers without a digest into a store: plain ones are compressed, and none twice. */
export class LayerIntake {
  readonly #options: LayerIntakeOptions;

  constructor(options: LayerIntakeOptions) {
    this.#options = options;
  }

  /** @throws LadingError `digest-mismatch` where a layer that is passed by is not what it was said to be */
  async take(source: AsyncIterable<Uint8Array>, claim: LayerClaim): Promise<ArchiveLayer> {
    const taken = await this.#take(source, claim);
    // What is reported of it from here on goes by its compressed digest.
    this.#options.progress?.identify?.(taken.diffId, taken.descriptor.digest);
    return taken;
  }

  async #take(source: AsyncIterable<Uint8Array>, claim: LayerClaim): Promise<ArchiveLayer> {
    const { format, signal } = this.#options;
    const { head, stream } = await peek(source, 6);
    const compression = sniffCompression(head);
    if (compression === "xz" || compression === "bzip2") {
      throw new LadingError("unsupported", `${claim.name} is compressed with ${compression}, which no registry takes`);
    }
    if (compression === "none") return await this.#takePlain(stream, claim);
    // Docker's manifest has no type for zstd.
    if (compression === "zstd" && format === "docker") {
      return await this.#takePlain(decompress(stream, "zstd", { signal }), { ...claim, claimed: null });
    }
    return await this.#takeCompressed(stream, compression, claim);
  }

  /** The compressed form of a layer that the store has, in the format wanted; null where it has none. */
  async cached(diffId: Digest): Promise<Descriptor | null> {
    const { into, format, signal } = this.#options;
    const found = await into.compressedLayer(diffId);
    const compression = found === null ? null : layerCompression(found.mediaType);
    if (found === null || compression === null || (compression === "zstd" && format === "docker")) return null;
    if (!(await into.has(found, { signal }))) return null;
    const mediaType = compression === "zstd" ? mediaTypes.ociLayerZstd : layerTypes[format][compression];
    return { mediaType, digest: found.digest, size: found.size };
  }

  async #takePlain(stream: AsyncIterable<Uint8Array>, { name, size, claimed }: LayerClaim): Promise<ArchiveLayer> {
    const { into, format, signal, progress } = this.#options;
    const hasher = createHasher();
    const known = claimed === null ? null : await this.cached(claimed);
    if (claimed !== null && known !== null) {
      let seen = 0;
      for await (const chunk of stream) {
        hasher.update(chunk);
        seen += chunk.byteLength;
        progress?.report(claimed, "exporting", seen, size);
      }
      const diffId = hasher.digest();
      if (diffId !== claimed) {
        throw new LadingError("digest-mismatch", `the layer ${name} should be ${claimed} and is ${diffId}`, {
          digest: claimed,
        });
      }
      return { diffId, descriptor: known };
    }
    const onBytes = (taken: number) => {
      if (claimed !== null) progress?.report(claimed, "compressing", taken, size);
    };
    const compressed = gzipStream(hashing(stream, hasher), { onBytes, size, signal });
    const made = await into.ingest(layerTypes[format].gzip, compressed, { signal });
    const diffId = hasher.digest();
    if (diffId !== claimed) progress?.report(diffId, "compressing", size, size);
    // A form that the store had before stays the layer's form, so that a second push gives the same digest.
    const before = await this.cached(diffId);
    if (before === null) await into.rememberLayer(diffId, made);
    return { diffId, descriptor: before ?? made };
  }

  /** Kept as it is. The diff ID needs a second look, out of the store: an archive passes once. */
  async #takeCompressed(
    stream: AsyncIterable<Uint8Array>,
    compression: Exclude<Compression, "none">,
    { size }: LayerClaim,
  ): Promise<ArchiveLayer> {
    const { into, format, signal, progress } = this.#options;
    const mediaType = compression === "zstd" ? mediaTypes.ociLayerZstd : layerTypes[format].gzip;
    const descriptor = await into.ingest(mediaType, stream, { signal });
    const hasher = createHasher();
    for await (const chunk of decompress(into.get(descriptor, { signal }), compression, { signal })) {
      hasher.update(chunk);
    }
    const diffId = hasher.digest();
    progress?.report(diffId, "exporting", size, size);
    await into.rememberLayer(diffId, descriptor);
    return { diffId, descriptor };
  }
}

async function* hashing(
  stream: AsyncIterable<Uint8Array>,
  hasher: { update(bytes: Uint8Array): void },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of stream) {
    hasher.update(chunk);
    yield chunk;
  }
}
