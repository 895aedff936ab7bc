import type { ImageFormat, TransferStore } from "../content/layer-cache.js";
import type { LocalImage } from "../image/local-image.js";
import type { LayerProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { Platform } from "../oci/platform.js";

export type { ImageFormat, LayerCache, TransferStore } from "../content/layer-cache.js";

export type EngineKind = "docker" | "podman" | "store";

/** How an engine keeps images, which decides what an export holds and what an image ID is. */
export type ImageStoreKind =
  /** Docker's graph driver: layers unpacked, image ID = digest of the config. */
  | "graph-driver"
  /** Docker with the containerd image store: original blobs kept, image ID = digest of what the name points at. */
  | "containerd"
  /** Podman: layers unpacked, image ID = digest of the config. */
  | "containers-storage"
  /** Lading's own store: original blobs kept, image ID = digest of what the name points at. */
  | "oci-layout";

export interface EngineInfo {
  readonly kind: EngineKind;
  /** Where it answers: a socket path, a URL, a folder. Never with credentials. */
  readonly endpoint: string;
  readonly version: string | null;
  readonly apiVersion: string | null;
  readonly imageStore: ImageStoreKind;
  /** The platform of images that it runs. */
  readonly platform: Platform;
}

/** One local image under one name, as `images` lists it. */
export interface EngineImage {
  /** `name:tag`, or null where the image has no name. */
  readonly local: LocalImage | null;
  /** The engine's image ID, `sha256:…`. */
  readonly id: Digest;
  /** The manifest's digest, where the engine knows it. */
  readonly digest: Digest | null;
  /** Bytes as the engine counts them (unpacked for Docker and Podman, compressed for the store). */
  readonly size: number;
  /** RFC 3339 UTC, or null. */
  readonly created: string | null;
  /** `os/architecture[/variant]` of what is there. */
  readonly platforms: readonly Platform[];
  /** Digests of the unpacked layers, lowest first, where the engine tells; empty else. */
  readonly diffIds: readonly Digest[];
}

/** A name or an image ID (`sha256:<64 hex>`). */
export type EngineReference = LocalImage | Digest;

export interface ExportOptions {
  /** Where the content goes; each descriptor is yielded once it is there, whole and verified. */
  readonly into: TransferStore;
  /** The one platform wanted; null for all that there is. */
  readonly platform: Platform | null;
  /** For images whose original manifest the engine does not hold. @default docker */
  readonly format: ImageFormat;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: LayerProgress | undefined;
}

export interface ImportOptions {
  readonly from: TransferStore;
  /** The names that the image gets. They move here, whatever they pointed at. */
  readonly names: readonly LocalImage[];
  /** The platform to load where the root is an index; null to keep the index whole where the engine can. */
  readonly platform: Platform | null;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: LayerProgress | undefined;
}

/** Where local images live. Every method throws `engine-unavailable` or `engine-failed` for the engine's own trouble. */
export interface LocalEngine {
  readonly kind: EngineKind;
  /** One request at most; remembered. */
  info(signal?: AbortSignal): Promise<EngineInfo>;
  /** One entry per name; images without a name once. */
  list(signal?: AbortSignal): Promise<readonly EngineImage[]>;
  /** Null where the engine has no such image. */
  inspect(reference: EngineReference, signal?: AbortSignal): Promise<EngineImage | null>;
  /** Gives an image one more name. @throws LadingError `not-found` */
  tag(reference: EngineReference, name: LocalImage, signal?: AbortSignal): Promise<void>;
  /** Removes a name, and the image with its last one. @throws LadingError `not-found`, `conflict` where it is in use */
  remove(
    reference: EngineReference,
    options: { readonly force: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<void>;
  /**
   * Moves an image into `into`. Yields each blob's descriptor as soon as it is there, then manifests, children
   * first; the last one is the root. Streamed: nothing is kept but what `into` keeps.
   * @throws LadingError `not-found`, `archive-invalid`, …
   */
  exportImage(reference: EngineReference, options: ExportOptions): AsyncIterable<Descriptor>;
  /**
   * Which layers (by diff ID) the engine has, of an image with these: they need not be downloaded for it.
   * For the store and the containerd store: none, since they keep the compressed blobs.
   */
  knownLayers(diffIds: readonly Digest[], signal?: AbortSignal): Promise<ReadonlySet<Digest>>;
  /** Loads an image and checks what the engine reports against what was sent. Resolves with the new image's ID. */
  importImage(root: Descriptor, options: ImportOptions): Promise<{ readonly id: Digest }>;
  /** Ends what it started (a `podman system service`, an ssh child) and its connections. */
  close(): Promise<void>;
}

/** What was looked at to find the engine, and why it was or was not taken. */
export interface EngineAttempt {
  readonly kind: EngineKind;
  readonly reason: string;
}

export interface DetectedEngine {
  readonly engine: LocalEngine;
  readonly kind: EngineKind;
  readonly reason: string;
  readonly tried: readonly EngineAttempt[];
}
