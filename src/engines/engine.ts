import type { ImageFormat, TransferStore } from "../content/layer-cache.js";
import type { LocalImage } from "../image/local-image.js";
import type { LayerProgress } from "../image/progress.js";
import type { Credential } from "../oci/credential.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { Platform } from "../oci/platform.js";

export type { ImageFormat, LayerCache, TransferStore } from "../content/layer-cache.js";

/** Where local images live: Docker, Podman, or Lading's own store. */
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

/** How the images of an engine get out of it. */
export type EngineMoves =
  /** They are files that Lading reads. */
  | "files"
  /** Layers are made out of the folders in which the engine keeps them, which this process may read. */
  | "folders"
  /** The engine pushes and pulls by itself, where it reaches the registry; else by export and load. */
  | "by-itself"
  /** By the engine's export and load. */
  | "archive";

export interface EngineInfo {
  readonly kind: EngineKind;
  /** Where it answers: a socket path, a URL, a folder. Never with credentials. */
  readonly endpoint: string;
  readonly version: string | null;
  readonly apiVersion: string | null;
  readonly imageStore: ImageStoreKind;
  readonly moves: EngineMoves;
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

/** A repository as an engine reaches it by itself, without anything that only Lading is told (authorities, proxies). */
export interface RegistryTarget {
  /** `host[:port]` */
  readonly host: string;
  /** `owner/name` */
  readonly path: string;
  /** On this machine's loopback: it is another place for an engine that lives elsewhere. */
  readonly loopback: boolean;
  /** Null is anonymous. */
  readonly credential: Credential | null;
}

export interface ExchangeOptions {
  readonly target: RegistryTarget;
  /** The one platform that is wanted; null for what the engine takes for the whole. */
  readonly platform: Platform | null;
  readonly signal: AbortSignal;
  readonly progress?: LayerProgress | undefined;
}

/** What an engine did by itself. */
export interface ExchangeReport {
  /** What the reference points at now. */
  readonly digest: Digest;
  /** What became of the layers, by the first 12 hex digits of their compressed digests. */
  readonly outcomes: ReadonlyMap<string, "stored" | "exists" | "mounted">;
  /** Whatever was there for the transfer alone is gone from the engine. Never rejects; to be waited for on every way out. */
  readonly settled: Promise<void>;
}

/**
 * An engine's own dealings with a registry. Nothing that it says is believed: whoever calls it looks at the other end afterwards.
 * Null where it can't be done this way, and everything is as it was.
 */
export interface EngineExchange {
  push(image: EngineImage, tag: string, options: ExchangeOptions): Promise<ExchangeReport | null>;
  /** Fetches by digest, and gives it a name. */
  pull(digest: Digest, name: LocalImage, options: ExchangeOptions): Promise<ExchangeReport | null>;
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
  /**
   * For an engine that keeps original content, and answers on a socket of this machine: what it can do with a registry by itself,
   * which for such an engine is faster than an export or a load. Null for the others.
   */
  exchange?(signal?: AbortSignal): Promise<EngineExchange | null>;
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
