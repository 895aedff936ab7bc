import { LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import { type Digest, digestHex, digestOf } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { type ImageManifest, parseImageConfig, parseManifest } from "../oci/manifest.js";
import { layerCompression, mediaTypes } from "../oci/media-types.js";
import { choosePlatform, formatPlatform, type Platform } from "../oci/platform.js";
import type { ArchiveContents, ArchiveImage } from "./archive-contents.js";
import { archiveName, familiarName } from "./archive-name.js";
import { decompress } from "./decompress.js";
import { imageManifestBytes } from "./image-manifest.js";
import type { ContentSource } from "./store.js";
import { type TarInput, writeTar } from "./tar.js";
import { invalidArchive } from "./tar-header.js";
import { readVerified } from "./verify.js";

/** One image of `manifest.json`. @see https://github.com/moby/docker-image-spec/blob/v1.3.1/v1.2.md#combined-image-json--filesystem-changeset-format */
interface ArchivedImage {
  readonly config: string;
  readonly repoTags: readonly string[];
  readonly layers: readonly string[];
}

/**
 * The images of a docker-archive, once all of it has passed: configs stay byte for byte, manifests are made, and what the config says
 * of its layers is compared with what they are.
 * @throws LadingError `archive-invalid`, `digest-mismatch`, `manifest-invalid`, `not-found` where no image is for the platform
 */
export async function* finishDockerArchive(
  contents: ArchiveContents,
  images: ArchiveImage[],
): AsyncGenerator<Descriptor, void, undefined> {
  const { options, passed } = contents;
  const pass = function* (descriptor: Descriptor) {
    if (passed.has(descriptor.digest)) return;
    passed.add(descriptor.digest);
    yield descriptor;
  };
  const offered: Platform[] = [];
  for (const image of parseArchiveManifest(contents.document("manifest.json"))) {
    const bytes = contents.document(image.config);
    const config = parseImageConfig(bytes);
    offered.push(config.platform);
    if (!serves(config.platform, options.platform ?? null)) continue;
    const digest = configDigest(image.config, bytes);
    const layers = await imageLayers(contents, image, config.diffIds as readonly Digest[]);
    for (const layer of layers) yield* pass(layer);
    const configType = options.format === "docker" ? mediaTypes.dockerConfig : mediaTypes.ociConfig;
    const configDescriptor: Descriptor = { mediaType: configType, digest, size: bytes.byteLength };
    await contents.putBytes(configDescriptor, bytes);
    yield* pass(configDescriptor);
    const manifest = imageManifestBytes(options.format, configDescriptor, layers);
    await contents.putBytes(manifest.descriptor, manifest.bytes);
    yield manifest.descriptor;
    images.push({ root: manifest.descriptor, names: image.repoTags.map(familiarName), index: null });
  }
  if (images.length === 0 && options.platform && offered.length > 0) {
    throw new LadingError("not-found", `the archive has no image for ${formatPlatform(options.platform)}`, {
      hint: `it has ${offered.map(formatPlatform).join(", ")}; choose one with --platform`,
    });
  }
}

/** A config that does not say what it is for is taken for anything. */
function serves(platform: Platform, wanted: Platform | null): boolean {
  return wanted === null || platform.architecture === "" || choosePlatform([{ platform }], wanted) !== null;
}

function parseArchiveManifest(bytes: Buffer): readonly ArchivedImage[] {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (cause) {
    throw invalidArchive("manifest.json of the archive is not JSON", cause);
  }
  if (!Array.isArray(value)) throw invalidArchive("manifest.json of the archive is not a list");
  return value.map((entry: unknown) => {
    const { Config, RepoTags, Layers } = (typeof entry === "object" && entry !== null ? entry : {}) as Record<
      string,
      unknown
    >;
    const [repoTags, layers] = [RepoTags ?? [], Layers ?? []];
    if (typeof Config !== "string" || !isTextList(repoTags) || !isTextList(layers)) {
      throw invalidArchive(
        "manifest.json of the archive has an entry without a config, or with layers that are no list",
      );
    }
    if (layers.length > limits.layers) {
      throw new LadingError("limit-exceeded", `an image of the archive has more than ${limits.layers} layers`, {
        limit: "layers",
      });
    }
    return { config: Config, repoTags, layers };
  });
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === "string");
}

/** A config is named by its digest; a name that lies would change the image's ID without anybody's notice. */
function configDigest(name: string, bytes: Buffer): Digest {
  const digest = digestOf(bytes);
  const claimed = /(?:^|[/:])([a-f0-9]{64})(?:\.json)?$/.exec(name)?.[1];
  if (claimed !== undefined && claimed !== digestHex(digest)) {
    throw new LadingError("digest-mismatch", `the config ${name} of the archive is ${digest}`, { digest });
  }
  return digest;
}

async function imageLayers(
  contents: ArchiveContents,
  { layers: names, config }: ArchivedImage,
  diffIds: readonly Digest[],
): Promise<readonly Descriptor[]> {
  if (diffIds.length !== names.length) {
    throw invalidArchive(`${config} of the archive names ${diffIds.length} layers, manifest.json ${names.length}`);
  }
  const layers: Descriptor[] = [];
  for (const [index, name] of names.entries()) {
    const expected = diffIds[index] as Digest;
    const layer = await contents.layer(name, expected);
    if (layer !== null && layer.diffId !== expected) {
      throw new LadingError(
        "digest-mismatch",
        `the layer ${name} of the archive should be ${expected}, is ${layer.diffId}`,
        {
          digest: expected,
        },
      );
    }
    // An archive made for an engine leaves out what that engine has; so may we.
    const descriptor = layer?.descriptor ?? (await contents.intake.cached(expected));
    if (descriptor === null)
      throw invalidArchive(`the layer ${name}, which manifest.json names, is not in the archive`);
    layers.push(descriptor);
  }
  return layers;
}

export interface DockerArchiveImage {
  /** An image manifest, not an index. */
  readonly manifest: Descriptor;
  /** RepoTags. A tag left out is `latest`. */
  readonly names: readonly (LocalImage | string)[];
  /** Layers by diff ID that the reader has: they are named and left out. Docker's load needs only those that it lacks. */
  readonly omit?: ReadonlySet<Digest> | undefined;
}

export interface WriteDockerArchiveOptions {
  /**
   * True writes gzip layers as they are, which Docker and Podman load; false unpacks them, at the price of reading each twice, since a
   * tar says how long an entry is before it comes. zstd layers are always unpacked. @default true
   */
  readonly compressed?: boolean | undefined;
  /**
   * Where layers stay compressed: what a gzip layer has unpacked, in bytes, for one that is to be unpacked after all, and read once. Null
   * leaves it as it is. Where the layer turns out to have another size, the stream ends with `size-mismatch`.
   */
  readonly unpackedSize?: ((layer: Descriptor) => Promise<number | null>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A docker-archive as a stream: `manifest.json` and configs first, each layer once.
 * @throws LadingError `manifest-invalid` for an artifact, `unsupported` for a layer of unknown compression; what the store throws
 */
export async function* writeDockerArchive(
  images: readonly DockerArchiveImage[],
  from: ContentSource,
  options: WriteDockerArchiveOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { compressed = true, unpackedSize, signal } = options;
  const configs = new Map<string, Uint8Array>();
  const layers = new Map<string, Descriptor>();
  const manifest: { Config: string; RepoTags: string[]; Layers: string[] }[] = [];
  for (const { manifest: descriptor, names, omit } of images) {
    const parsed = parseManifest(
      await readVerified(from, descriptor, { limit: "manifest", signal }),
      descriptor.mediaType,
    );
    if (parsed.kind !== "image") throw new LadingError("internal", `${descriptor.digest} is no image manifest`);
    const config = await readVerified(from, parsed.config, { limit: "config", signal });
    const configName = `${digestHex(parsed.config.digest)}.json`;
    configs.set(configName, config);
    const named = namedLayers(parsed, parseImageConfig(config).diffIds as readonly Digest[]);
    for (const { name, diffId, layer } of named) if (omit?.has(diffId) !== true) layers.set(name, layer);
    manifest.push({ Config: configName, RepoTags: names.map(archiveName), Layers: named.map(({ name }) => name) });
  }
  const plainSize = async (layer: Descriptor): Promise<number> => {
    let size = 0;
    for await (const chunk of unpacked(from, layer, signal)) size += chunk.byteLength;
    return size;
  };
  const entries = async function* (): AsyncGenerator<TarInput> {
    const document = Buffer.from(`${JSON.stringify(manifest)}\n`);
    yield { name: "manifest.json", size: document.byteLength, body: document };
    for (const [name, body] of configs) yield { name, size: body.byteLength, body };
    for (const [name, layer] of layers) {
      const compression = layerCompression(layer.mediaType);
      const mayStay = compression === "none" || (compressed && compression === "gzip");
      const known = mayStay && compression === "gzip" ? ((await unpackedSize?.(layer)) ?? null) : null;
      yield mayStay && known === null
        ? { name, size: layer.size, body: from.get(layer, { signal }) }
        : { name, size: known ?? (await plainSize(layer)), body: unpacked(from, layer, signal) };
    }
  };
  yield* writeTar(entries());
}

/** Layers by diff ID, as Podman names them: one that comes twice is one file. */
function namedLayers(manifest: ImageManifest, diffIds: readonly Digest[]) {
  if (diffIds.length !== manifest.layers.length) {
    throw new LadingError(
      "manifest-invalid",
      "the config names other layers than the manifest: this is no image to load",
    );
  }
  return manifest.layers.map((layer, index) => {
    const diffId = diffIds[index] as Digest;
    return { name: `${digestHex(diffId)}.tar`, diffId, layer };
  });
}

function unpacked(from: ContentSource, layer: Descriptor, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  const compression = layerCompression(layer.mediaType);
  if (compression === null) {
    throw new LadingError("unsupported", `a layer of type ${layer.mediaType} does not fit into a docker-archive`, {
      digest: layer.digest,
    });
  }
  return decompress(from.get(layer, { signal }), compression, { signal });
}
