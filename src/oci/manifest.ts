import { LadingError } from "../errors.js";
import type { Descriptor } from "./descriptor.js";
import { digestOf, parseDigest } from "./digest.js";
import { limits } from "./limits.js";
import { isImageManifestType, isIndexType, isManifestType, mediaTypes } from "./media-types.js";
import type { Platform } from "./platform.js";
import { duplicateKey } from "./unique-keys.js";

/** An image manifest or an artifact manifest in its shape. */
export interface ImageManifest {
  readonly kind: "image";
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject: Descriptor | null;
  readonly artifactType: string | null;
  readonly annotations: Readonly<Record<string, string>>;
}

/** An OCI index or a Docker manifest list. */
export interface IndexManifest {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly subject: Descriptor | null;
  readonly artifactType: string | null;
  readonly annotations: Readonly<Record<string, string>>;
}

export type Manifest = ImageManifest | IndexManifest;

/** Bytes and meaning side by side: the bytes are what was signed and are forwarded as they are. */
export interface RawManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

function invalid(message: string): LadingError {
  return new LadingError("manifest-invalid", message);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * A JSON object whose names are all different: readers do not agree on what a name that comes twice means.
 * @throws LadingError `manifest-invalid`
 */
function parseDocument(bytes: Uint8Array, what: string): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    // Without its cause: the parser's message quotes the document, which may be anything.
    throw invalid(`${what} is not JSON in UTF-8`);
  }
  if (!isObject(value)) throw invalid(`${what} is not a JSON object`);
  const twice = duplicateKey(text);
  if (twice !== null) throw invalid(`${what} has ${JSON.stringify(twice.slice(0, 100))} twice in one object`);
  return value;
}

function stringMap(value: unknown, where: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw invalid(`${where} is not an object`);
  const map: Record<string, string> = Object.create(null);
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== "string") throw invalid(`${where}[${JSON.stringify(key.slice(0, 100))}] is not a string`);
    map[key] = entry;
  }
  return map;
}

function parsePlatformField(value: unknown, where: string): Platform | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw invalid(`${where} is not an object`);
  const { os, architecture, variant, "os.version": version, "os.features": features } = value;
  return {
    os: typeof os === "string" ? os : "",
    architecture: typeof architecture === "string" ? architecture : "",
    ...(typeof variant === "string" && variant !== "" && { variant }),
    ...(typeof version === "string" && { "os.version": version }),
    ...(Array.isArray(features) && { "os.features": features.filter((feature) => typeof feature === "string") }),
  };
}

/** @throws LadingError `manifest-invalid` */
export function parseDescriptor(value: unknown, where = "descriptor"): Descriptor {
  if (!isObject(value)) throw invalid(`${where} is not an object`);
  const { mediaType, digest, size, artifactType, urls, data } = value;
  if (typeof mediaType !== "string" || mediaType === "") throw invalid(`${where}.mediaType is missing`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${where}.size is not a whole number of bytes`);
  }
  const platform = parsePlatformField(value.platform, `${where}.platform`);
  return {
    mediaType,
    digest: parseDigest(digest, "manifest-invalid"),
    size,
    ...(platform === undefined ? {} : { platform }),
    ...(value.annotations === undefined ? {} : { annotations: stringMap(value.annotations, `${where}.annotations`) }),
    ...(typeof artifactType === "string" ? { artifactType } : {}),
    ...(Array.isArray(urls) ? { urls: urls.filter((url): url is string => typeof url === "string") } : {}),
    ...(typeof data === "string" ? { data } : {}),
  };
}

function descriptorList(value: unknown, where: string): Descriptor[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(`${where} is not a list`);
  if (value.length > limits.layers) {
    throw new LadingError("limit-exceeded", `${where} has ${value.length} entries, at most ${limits.layers} are read`, {
      limit: "layers",
    });
  }
  return value.map((entry, index) => parseDescriptor(entry, `${where}[${index}]`));
}

/**
 * Reads a manifest of a given type. The type is decided once, by what carried the bytes (a `Content-Type`
 * or a descriptor); a `mediaType` inside must agree, and the fields of the other kind must be absent
 * (GHSA-qq97-vm5h-rrhg).
 * @throws LadingError `manifest-invalid`, `limit-exceeded`, `unsupported` for schema 1
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): Manifest {
  if (bytes.length > limits.manifest) {
    throw new LadingError(
      "limit-exceeded",
      `the manifest has ${bytes.length} bytes, at most ${limits.manifest} are read`,
      { limit: "manifest" },
    );
  }
  const value = parseDocument(bytes, "the manifest");
  if (value.schemaVersion === 1) {
    throw new LadingError("unsupported", "this is a Docker schema 1 manifest, which registries gave up in 2020", {
      hint: "push the image again with a current tool",
    });
  }
  if (value.schemaVersion !== 2) throw invalid("schemaVersion is not 2");
  if (value.mediaType !== undefined && value.mediaType !== mediaType) {
    const own =
      typeof value.mediaType === "string" ? value.mediaType.slice(0, 200) : `a value of type ${typeof value.mediaType}`;
    throw invalid(`the manifest calls itself ${own} but was given as ${mediaType}`);
  }
  const common = {
    mediaType,
    subject: value.subject === undefined || value.subject === null ? null : parseDescriptor(value.subject, "subject"),
    artifactType: typeof value.artifactType === "string" ? value.artifactType : null,
    annotations: stringMap(value.annotations, "annotations"),
  };
  if (isIndexType(mediaType)) {
    for (const field of ["config", "layers", "fsLayers"]) {
      if (field in value) throw invalid(`an index with the image field ${field} is ambiguous`);
    }
    return { kind: "index", ...common, manifests: descriptorList(value.manifests, "manifests") };
  }
  if (isImageManifestType(mediaType)) {
    for (const field of ["manifests", "fsLayers"]) {
      if (field in value) throw invalid(`an image manifest with the field ${field} is ambiguous`);
    }
    return {
      kind: "image",
      ...common,
      config: parseDescriptor(value.config, "config"),
      layers: descriptorList(value.layers, "layers"),
    };
  }
  throw new LadingError("unsupported", `${mediaType} is not a manifest type that Lading knows`);
}

/** The manifest with its descriptor, computed from the bytes. */
export function rawManifest(bytes: Uint8Array, mediaType: string): RawManifest {
  const manifest = parseManifest(bytes, mediaType);
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes, manifest };
}

/** What a manifest points at, its subject left out: config and layers, or the manifests of an index. */
export function children(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === "index" ? manifest.manifests : [manifest.config, ...manifest.layers];
}

/** The type of a layout's or an archive's manifest whose descriptor may lack one, by its content. */
export function sniffManifestType(value: unknown): string | null {
  if (!isObject(value)) return null;
  if (typeof value.mediaType === "string" && isManifestType(value.mediaType)) return value.mediaType;
  if (Array.isArray(value.manifests)) return mediaTypes.ociIndex;
  return isObject(value.config) ? mediaTypes.ociManifest : null;
}

/** The parts of an image config that Lading reads. */
export interface ImageConfig {
  readonly platform: Platform;
  /** RFC 3339, or null where the config does not say. */
  readonly created: string | null;
  readonly diffIds: readonly string[];
  /** The whole document. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md
 * @throws LadingError `manifest-invalid`, `limit-exceeded`
 */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  if (bytes.length > limits.config) {
    throw new LadingError("limit-exceeded", `the config has ${bytes.length} bytes, at most ${limits.config} are read`, {
      limit: "config",
    });
  }
  const value = parseDocument(bytes, "the image config");
  const rootfs = value.rootfs;
  const diffIds = isObject(rootfs) && Array.isArray(rootfs.diff_ids) ? rootfs.diff_ids : [];
  const { os, architecture, variant, created } = value;
  return {
    platform: parsePlatformField({ os, architecture, variant }, "config") as Platform,
    created: typeof created === "string" ? created : null,
    diffIds: diffIds.map((diffId) => parseDigest(diffId, "manifest-invalid")),
    raw: value,
  };
}
