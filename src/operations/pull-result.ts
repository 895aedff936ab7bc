import type { PutResult } from "../content/store.js";
import { type ContentTree, layersSize } from "../content/walk.js";
import type { EngineKind } from "../engines/engine.js";
import type { LocalImage } from "../image/local-image.js";
import { type RemoteImage, wireName } from "../image/remote-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { ImageConfig, RawManifest } from "../oci/manifest.js";
import { formatPlatform, type Platform } from "../oci/platform.js";
import { wirePath } from "./context.js";
import { indexPlatforms } from "./selection.js";

/** How many blobs a pull received, and how many were there already. */
export interface ReceivedCounts {
  readonly received: number;
  readonly existing: number;
}

interface PullFields {
  /** `host/path@sha256:…`. */
  readonly reference: string;
  /** What the reference points at in the registry: a manifest or an index. */
  readonly digest: Digest;
  /** The image's own manifest; null where an index was kept whole. */
  readonly manifestDigest: Digest | null;
  readonly mediaType: string;
  /** Compressed bytes of the distinct layers. */
  readonly size: number;
  readonly platforms: readonly string[];
  readonly tags: readonly string[];
  readonly engine: EngineKind;
  /** The engine's ID of the image. */
  readonly id: Digest;
  /** The ID that the local name pointed at before, where it was another one; null else. */
  readonly previousId: Digest | null;
  readonly blobs: ReceivedCounts;
  /** Bytes of blobs that came over the wire. */
  readonly bytesReceived: number;
  /** The engine had this image under this name. */
  readonly unchanged: boolean;
  readonly seconds: number;
}

/** The result of `pull` as JSON. */
export interface PullJson extends PullFields {
  readonly local: string;
  readonly remote: string;
}

/** What `pull` did. */
export interface PullResult extends PullFields {
  readonly local: LocalImage;
  readonly remote: RemoteImage;
  toJSON(): PullJson;
}

/** What goes to the engine: the root that it will know, and the image manifest in it. */
export interface Selection {
  readonly top: RawManifest;
  readonly root: Descriptor;
  readonly tree: ContentTree;
  readonly image: RawManifest | null;
  readonly config: ImageConfig | null;
}

/** What a pull came to, before it is told. */
export interface PullOutcome {
  readonly local: LocalImage;
  readonly selection: Selection;
  readonly results: ReadonlyMap<Digest, PutResult>;
  readonly id: Digest;
  readonly previousId: Digest | null;
  readonly unchanged: boolean;
  readonly platform: Platform;
}

export function pullResult(remote: RemoteImage, kind: EngineKind, outcome: PullOutcome, seconds: number): PullResult {
  const { local, selection, results, id, previousId, unchanged, platform } = outcome;
  const { top, tree, image } = selection;
  let received = 0;
  let bytesReceived = 0;
  for (const blob of tree.blobs) {
    const result = results.get(blob.digest);
    bytesReceived += result?.transferred ?? 0;
    if (result?.outcome === "stored") received += 1;
  }
  const fields: PullFields = {
    reference: `${wirePath(remote)}@${top.descriptor.digest}`,
    digest: top.descriptor.digest,
    manifestDigest: image?.descriptor.digest ?? null,
    mediaType: top.descriptor.mediaType,
    size: layersSize(tree.manifests.map((raw) => raw.manifest)),
    platforms:
      image === null && top.manifest.kind === "index"
        ? indexPlatforms(top.manifest.manifests)
        : [formatPlatform(platform)],
    tags: wireName(remote).reference === remote.digest ? [] : [remote.tag ?? "latest"],
    engine: kind,
    id,
    previousId,
    blobs: { received, existing: tree.blobs.length - received },
    bytesReceived,
    unchanged,
    seconds,
  };
  const json: PullJson = { local: local.toString(), remote: remote.toString(), ...fields };
  return { local, remote, ...fields, toJSON: () => json };
}
