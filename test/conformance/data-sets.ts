/** The sets of data that the OCI suite moves, built anew from what its results call them. */
import { type Digest, type DigestAlgorithm, digestOf } from "../../src/oci/digest.js";
import { mediaTypes } from "../../src/oci/media-types.js";
import type { dataSetNames } from "./official-suite.js";

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly [field: string]: unknown;
}

/** A manifest with what the registry must have before it. */
export interface BuiltManifest {
  readonly descriptor: Descriptor;
  readonly bytes: string;
  readonly tags: readonly string[];
  /** Whether the tags come as parameters of a push by digest. */
  readonly byParameters: boolean;
  /** What it must show as among the referrers; null without a subject. */
  readonly referrer: { readonly subject: Digest; readonly descriptor: Descriptor } | null;
}

/** Blobs and manifests, in the order in which they are pushed. */
export interface DataSet {
  readonly blobs: ReadonlyMap<Digest, string>;
  readonly manifests: readonly BuiltManifest[];
  /** Needs a registry that takes manifests without their content. */
  readonly sparse: boolean;
  /** What a push of its manifests is answered with. */
  readonly status: 201 | 400;
}

interface ImageOptions {
  readonly tags?: readonly string[];
  readonly byParameters?: boolean;
  readonly algorithm?: DigestAlgorithm;
  /** Fields beside those of every image, or instead of them. */
  readonly more?: Readonly<Record<string, unknown>>;
  readonly configType?: string;
  readonly config?: string;
  readonly layerType?: string;
  readonly layers?: readonly string[];
  /** Fields added to config and layers. */
  readonly describe?: (content: string) => object;
}

const example = "application/vnd.example+type";
const { ociManifest, ociIndex, ociConfig, ociLayer, ociLayerGzip, ociEmpty } = mediaTypes;

class Builder {
  readonly blobs = new Map<Digest, string>();
  readonly manifests: BuiltManifest[] = [];
  sparse = false;
  status: 201 | 400 = 201;
  readonly #salt: string;
  #count = 0;

  constructor(salt: string) {
    this.#salt = salt;
  }

  #unique(): string {
    return `${this.#salt} ${this.#count++}`;
  }

  blob(mediaType: string, content: string, algorithm: DigestAlgorithm, more: object = {}): Descriptor {
    const digest = digestOf(content, algorithm);
    this.blobs.set(digest, content);
    return { mediaType, digest, size: Buffer.byteLength(content), ...more };
  }

  image(options: ImageOptions = {}): Descriptor {
    const { algorithm = "sha256", describe = () => ({}) } = options;
    const config = options.config ?? `{"salt":"${this.#unique()}"}`;
    const layers = options.layers ?? [this.#unique(), this.#unique()];
    const value = {
      schemaVersion: 2,
      mediaType: ociManifest,
      config: this.blob(options.configType ?? ociConfig, config, algorithm, describe(config)),
      layers: layers.map((layer) => this.blob(options.layerType ?? ociLayerGzip, layer, algorithm, describe(layer))),
      ...options.more,
    };
    return this.#add(ociManifest, value, options, value.config.mediaType);
  }

  index(entries: readonly object[], options: ImageOptions = {}): Descriptor {
    return this.#add(
      ociIndex,
      { schemaVersion: 2, mediaType: ociIndex, manifests: entries, ...options.more },
      options,
      null,
    );
  }

  #add(
    mediaType: string,
    value: { readonly [field: string]: unknown },
    options: ImageOptions,
    fallbackType: string | null,
  ): Descriptor {
    const bytes = JSON.stringify(value);
    const digest = digestOf(bytes, options.algorithm ?? "sha256");
    const descriptor: Descriptor = { mediaType, digest, size: Buffer.byteLength(bytes) };
    const { subject, artifactType = fallbackType ?? undefined, annotations } = value;
    const shown = {
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(annotations === undefined ? {} : { annotations }),
    };
    this.manifests.push({
      descriptor,
      bytes,
      tags: options.tags ?? [],
      byParameters: options.byParameters ?? false,
      referrer:
        subject === undefined
          ? null
          : { subject: (subject as Descriptor).digest, descriptor: { ...descriptor, ...shown } },
    });
    return descriptor;
  }
}

const platforms = [
  { os: "linux", architecture: "amd64" },
  { os: "linux", architecture: "arm64" },
];
const artifact: ImageOptions = {
  more: { artifactType: example },
  configType: ociEmpty,
  config: "{}",
  layerType: example,
  layers: ["the artifact"],
};
const annotated = (text: string) => ({ annotations: { "org.example.text": text } });
const tagList = (count: number) => Array.from({ length: count }, (_, index) => `param-${index}`);

const recipes: Readonly<Record<(typeof dataSetNames)[number], (set: Builder) => unknown>> = {
  image: (set) => set.image({ tags: ["image"] }),
  "image-uncompressed": (set) => set.image({ tags: ["plain"], layerType: ociLayer }),
  "large-manifest": (set) => {
    const annotations = Object.fromEntries(
      Array.from({ length: 390 }, (_, index) => [`large-${index}`, "A".repeat(10_000)]),
    );
    set.image({ tags: ["large"], more: { annotations } });
  },
  index: (set) =>
    set.index(
      platforms.map((platform) => ({ ...set.image(), platform })),
      { tags: ["index"] },
    ),
  "nested-index": (set) => {
    const inner = () => set.index(platforms.map((platform) => ({ ...set.image(), platform })));
    set.index([inner(), inner()], { tags: ["nested"] });
  },
  "empty-index": (set) => set.index([], { tags: ["empty"] }),
  artifact: (set) => set.image({ ...artifact, tags: ["artifact"] }),
  "artifact-index": (set) => {
    const entries = platforms.map((platform) => ({
      ...set.image({ ...artifact, layers: [platform.architecture] }),
      platform,
    }));
    set.index(entries, { tags: ["artifacts"], more: { artifactType: example } });
  },
  "artifact-without-layers": (set) => set.image({ ...artifact, tags: ["bare"], layerType: ociEmpty, layers: ["{}"] }),
  "artifacts-with-subject": (set) => {
    const subject = set.image({ tags: ["subject"] });
    set.image({ more: { subject } });
    for (const name of ["one", "two"]) {
      const more = { artifactType: `${example}.${name}`, subject, ...annotated(name) };
      set.image({ ...artifact, tags: [`artifact-${name}`], more });
    }
  },
  "index-with-subject": (set) => {
    const subject = set.index([set.image()], { tags: ["subject"] });
    set.index([set.image(artifact)], {
      tags: ["refers"],
      more: { artifactType: example, subject, ...annotated("index") },
    });
    set.index([], { more: { subject } });
  },
  "missing-subject": (set) => {
    const subject = { mediaType: ociManifest, digest: digestOf("missing content"), size: 123 };
    set.image({ ...artifact, tags: ["early"], more: { artifactType: example, subject, ...annotated("early") } });
  },
  "data-field": (set) =>
    set.image({ tags: ["data"], describe: (text) => ({ data: Buffer.from(text).toString("base64") }) }),
  "non-distributable-layers": (set) => {
    const layer = { mediaType: mediaTypes.ociForeignLayerGzip, digest: digestOf("elsewhere"), size: 123456 };
    set.image({ tags: ["foreign"], more: { layers: [{ ...layer, urls: ["https://store.example.com/blobs/x"] }] } });
  },
  "custom-fields": (set) => {
    const describe = () => ({ "org.example": ["of", "a", "descriptor"] });
    const image = set.image({ tags: ["custom"], describe, more: { "org.example": { deep: [1.5, null, "ü"] } } });
    set.index([{ ...image, "org.example": true }], { tags: ["custom-index"], more: { "org.example": "of an index" } });
  },
  "no-layers": (set) => set.image({ tags: ["no-layers"], layers: [] }),
  sparse: (set) => {
    set.sparse = true;
    const absent = { mediaType: ociManifest, digest: digestOf("not copied"), size: 42, platform: platforms[1] };
    set.index([{ ...set.image(), platform: platforms[0] }, absent], { tags: ["sparse"] });
  },
  sha512: (set) => set.image({ algorithm: "sha512", tags: ["wide"], byParameters: true }),
  "tag-param-sha256": (set) => set.image({ tags: tagList(12), byParameters: true }),
  "tag-param-sha512": (set) => set.image({ algorithm: "sha512", tags: tagList(12), byParameters: true }),
  "bad-digest-image": (set) => {
    const good = set.image();
    const { bytes } = set.manifests.pop() ?? { bytes: "" };
    const descriptor = { ...good, digest: digestOf("something else") };
    set.manifests.push({ descriptor, bytes, tags: [], byParameters: false, referrer: null });
    set.status = 400;
  },
};

export function buildDataSet(name: (typeof dataSetNames)[number]): DataSet {
  const set = new Builder(name);
  recipes[name](set);
  return set;
}
