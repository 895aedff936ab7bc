import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { ContentStore } from "./store.js";

/** Media types of a manifest that Lading builds itself. */
export const imageFormats = ["docker", "oci"] as const;
/** The family of an image's media types: OCI's, or those of Docker's schema 2. */
export type ImageFormat = (typeof imageFormats)[number];

/** What Lading remembers of layers that passed through its store, so that none is compressed twice. */
export interface LayerCache {
  /**
   * The compressed form of an unpacked layer, as it was when it passed. The blob itself may have been evicted
   * since: ask `has`.
   */
  compressedLayer(diffId: Digest): Promise<Descriptor | null>;
  rememberLayer(diffId: Digest, compressed: Descriptor): Promise<void>;
  /** The manifest that an engine's image became, so that pushing it again needs no export. */
  manifestFor(imageId: Digest, format: ImageFormat | "original", platform: string): Promise<Descriptor | null>;
  rememberManifest(
    imageId: Digest,
    format: ImageFormat | "original",
    platform: string,
    manifest: Descriptor,
  ): Promise<void>;
}

export interface IngestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes taken so far. */
  readonly onBytes?: ((stored: number) => void) | undefined;
}

/** A store that takes content whose digest nobody knows yet, such as a layer that is being compressed. */
export interface ContentIngest {
  /**
   * Takes the stream to its end and says what it was. Nobody sees the content before that, and nothing is kept
   * where the stream fails.
   * @throws LadingError `no-space`, `io`, `cancelled`
   */
  ingest(mediaType: string, source: AsyncIterable<Uint8Array>, options?: IngestOptions): Promise<Descriptor>;
}

/** The hub: the store that an export fills and an import reads, with its memory of layers. */
export type TransferStore = ContentStore & LayerCache & ContentIngest;
