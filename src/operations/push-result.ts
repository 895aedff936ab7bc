import type { PutResult } from "../content/store.js";
import { type ContentTree, layersSize } from "../content/walk.js";
import type { EngineKind } from "../engines/engine.js";
import type { LocalImage } from "../image/local-image.js";
import type { RemoteImage } from "../image/remote-image.js";
import type { Digest } from "../oci/digest.js";
import { type BlobCounts, countSent } from "./blob-counts.js";
import { wirePath } from "./context.js";

/** The result of `push` as JSON. */
export interface PushJson {
  readonly local: string;
  readonly remote: string;
  readonly reference: string;
  readonly digest: string;
  readonly manifestDigest: string | null;
  readonly mediaType: string;
  readonly size: number;
  readonly platforms: readonly string[];
  readonly tags: readonly string[];
  readonly engine: EngineKind;
  readonly blobs: BlobCounts;
  readonly bytesSent: number;
  readonly unchanged: boolean;
  readonly seconds: number;
}

/** What `push` did. */
export interface PushResult {
  readonly local: LocalImage | Digest;
  readonly remote: RemoteImage;
  /** `host/path@sha256:…`. */
  readonly reference: string;
  /** What the tag points at: a manifest or an index. */
  readonly digest: Digest;
  /** The image's own manifest: the digest itself, or the one that an index has for the engine's platform; null else. */
  readonly manifestDigest: Digest | null;
  readonly mediaType: string;
  /** Compressed bytes of the distinct layers. */
  readonly size: number;
  readonly platforms: readonly string[];
  readonly tags: readonly string[];
  readonly engine: EngineKind;
  readonly blobs: BlobCounts;
  /** Bytes of blobs that went over the wire, what was sent twice counted twice. */
  readonly bytesSent: number;
  /** The registry had it all, under these tags. */
  readonly unchanged: boolean;
  readonly seconds: number;
  toJSON(): PushJson;
}

/** What a push came to, before it is told. */
export interface PushOutcome {
  readonly tree: ContentTree;
  readonly manifestDigest: Digest | null;
  readonly platforms: readonly string[];
  readonly results: ReadonlyMap<Digest, PutResult>;
  readonly unchanged: boolean;
}

export interface PushResultInput extends PushOutcome {
  readonly local: LocalImage | Digest;
  readonly remote: RemoteImage;
  readonly tags: readonly string[];
  readonly kind: EngineKind;
  readonly seconds: number;
}

export function pushResult({ tree, results, ...input }: PushResultInput): PushResult {
  const { blobs, bytes } = countSent(tree, results);
  const remote = input.remote.tag === null ? input.remote.withTag("latest") : input.remote;
  const fields = {
    reference: `${wirePath(remote)}@${tree.root.digest}`,
    digest: tree.root.digest,
    manifestDigest: input.manifestDigest,
    mediaType: tree.root.mediaType,
    size: layersSize(tree.manifests.map((raw) => raw.manifest)),
    platforms: input.platforms,
    tags: input.tags,
    engine: input.kind,
    blobs,
    bytesSent: bytes,
    unchanged: input.unchanged,
    seconds: input.seconds,
  };
  const json: PushJson = { local: String(input.local), remote: remote.toString(), ...fields };
  return { local: input.local, remote, ...fields, toJSON: () => json };
}
