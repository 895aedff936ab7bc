import { gunzipSync, gzipSync } from "node:zlib";
import type { ContentStore } from "../../src/content/store.js";
import type { Descriptor } from "../../src/oci/descriptor.js";
import { type Digest, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import { formatPlatform, type Platform } from "../../src/oci/platform.js";
import { randomBytesOf } from "./random-bytes.js";
import { tarOf } from "./tar-bytes.js";

export interface RandomImageOptions {
  /** The same seed and options give the same image. @default "1" */
  readonly seed?: string | number;
  /** @default 2 */
  readonly layers?: number;
  /** Bytes of the file in each layer; half of them do not compress. @default 4096 */
  readonly layerSize?: number;
  /** Layers as plain tars instead of gzip: of exactly the size that was asked for and a few blocks. @default true */
  readonly compressed?: boolean;
  /** @default "oci" */
  readonly format?: "docker" | "oci";
  /** @default linux/amd64 */
  readonly platform?: Platform;
}

export interface RandomLayer {
  readonly descriptor: Descriptor;
  /** Gzip, unless it was asked for without. */
  readonly bytes: Uint8Array;
  readonly diffId: Digest;
  /** The tar inside. */
  readonly tar: Uint8Array;
}

export interface RandomImage {
  readonly root: Descriptor;
  /** The manifest's bytes. */
  readonly manifest: Uint8Array;
  readonly layers: readonly RandomLayer[];
  readonly config: { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
}

export interface RandomIndexOptions extends Omit<RandomImageOptions, "platform"> {
  /** @default linux/amd64 and linux/arm64 */
  readonly platforms?: readonly Platform[];
  /** Adds an attestation manifest per image, as BuildKit does. @default false */
  readonly attestations?: boolean;
}

export interface RandomIndex {
  readonly root: Descriptor;
  /** The index's bytes. */
  readonly manifest: Uint8Array;
  readonly images: readonly RandomImage[];
}

/** Puts bytes into a store. */
export async function putBytes(store: ContentStore, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  await store.put(descriptor, async function* (offset) {
    yield bytes.subarray(offset);
  });
  return descriptor;
}

/** Makes an image that engines load and run tools read, and puts it into a store: blobs first, manifest last. */
export async function randomImage(store: ContentStore, options: RandomImageOptions = {}): Promise<RandomImage> {
  const { seed = "1", layers: count = 2, layerSize = 4096, format = "oci", compressed = true } = options;
  const platform = options.platform ?? { os: "linux", architecture: "amd64" };
  const docker = format === "docker";
  const layers: RandomLayer[] = [];
  for (let index = 0; index < count; index++) {
    const random = randomBytesOf(`${seed}/${formatPlatform(platform)}/${index}`, Math.ceil(layerSize / 2));
    const content = Buffer.alloc(layerSize, "lading ");
    content.set(random.subarray(0, layerSize));
    const tar = tarOf([
      { name: `layer-${index}/`, content: null },
      { name: `layer-${index}/content.bin`, content },
    ]);
    const bytes = compressed ? gzipSync(tar, { level: 1 }) : tar;
    const gzipType = docker ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip;
    const mediaType = compressed ? gzipType : docker ? mediaTypes.dockerLayer : mediaTypes.ociLayer;
    layers.push({ descriptor: await putBytes(store, mediaType, bytes), bytes, diffId: digestOf(tar), tar });
  }
  const config = json({
    created: "2024-05-06T07:08:09Z",
    architecture: platform.architecture,
    os: platform.os,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    config: { Env: ["PATH=/bin"], Cmd: ["/bin/true"], Labels: { seed: String(seed) } },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((_layer, index) => ({ created: "2024-05-06T07:08:09Z", created_by: `layer ${index}` })),
  });
  const configDescriptor = await putBytes(store, docker ? mediaTypes.dockerConfig : mediaTypes.ociConfig, config);
  const mediaType = docker ? mediaTypes.dockerManifest : mediaTypes.ociManifest;
  const manifest = json({
    schemaVersion: 2,
    mediaType,
    config: configDescriptor,
    layers: layers.map(({ descriptor }) => descriptor),
  });
  const root = await putBytes(store, mediaType, manifest);
  return { root, manifest, layers, config: { descriptor: configDescriptor, bytes: config } };
}

/** Makes an image for several platforms and puts it into a store, the index last. */
export async function randomIndex(store: ContentStore, options: RandomIndexOptions = {}): Promise<RandomIndex> {
  const { platforms, attestations = false, ...rest } = options;
  const images: RandomImage[] = [];
  const entries: Descriptor[] = [];
  const attested: Descriptor[] = [];
  for (const platform of platforms ?? [
    { os: "linux", architecture: "amd64" },
    { os: "linux", architecture: "arm64" },
  ]) {
    const image = await randomImage(store, { ...rest, platform });
    images.push(image);
    entries.push({ ...image.root, platform });
    if (attestations) attested.push(await putAttestation(store, image.root));
  }
  const mediaType = options.format === "docker" ? mediaTypes.dockerList : mediaTypes.ociIndex;
  const manifest = json({ schemaVersion: 2, mediaType, manifests: [...entries, ...attested] });
  return { root: await putBytes(store, mediaType, manifest), manifest, images };
}

/** The tar inside a layer. */
export function layerTar(layer: Uint8Array): Uint8Array {
  return gunzipSync(layer);
}

async function putAttestation(store: ContentStore, subject: Descriptor): Promise<Descriptor> {
  const statement = json({ _type: "https://in-toto.io/Statement/v0.1", subject: [], predicate: {} });
  const layer = await putBytes(store, "application/vnd.in-toto+json", statement);
  const config = json({
    architecture: "unknown",
    os: "unknown",
    config: {},
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: await putBytes(store, mediaTypes.ociConfig, config),
    layers: [{ ...layer, annotations: { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" } }],
    // Makes the attestation of each image another manifest, as it is in life.
    annotations: { "test.subject": subject.digest },
  });
  return {
    ...(await putBytes(store, mediaTypes.ociManifest, manifest)),
    platform: { os: "unknown", architecture: "unknown" },
    annotations: {
      "vnd.docker.reference.type": "attestation-manifest",
      "vnd.docker.reference.digest": subject.digest,
    },
  };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
