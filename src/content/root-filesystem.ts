import { throwIfAborted } from "../errors.js";
import type { LayerProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import { createHasher, digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { Platform } from "../oci/platform.js";
import { gzipStream } from "./compress.js";
import { imageManifestBytes } from "./image-manifest.js";
import type { ContentIngest, ImageFormat, LayerCache } from "./layer-cache.js";
import type { RootEntry, RootFiles } from "./root-files.js";
import { readFolder } from "./root-folder.js";
import { readRootTar } from "./root-tar.js";
import type { ContentStore } from "./store.js";
import { type TarInput, writeTar } from "./tar.js";

/** Where the files come from. */
export type RootFilesystemSource =
  | { readonly directory: string }
  | {
      /** A tar, plain or compressed with gzip or zstd. */
      readonly tar: AsyncIterable<Uint8Array>;
      /** A folder for the files' content while it is put into order. What is made there is removed again. */
      readonly spoolDirectory: string;
    };

export interface ImportRootFilesystemOptions {
  readonly into: ContentStore & ContentIngest & Partial<LayerCache>;
  readonly platform: Platform;
  /** Keeps user and group numbers; else all is root's. @default false */
  readonly keepOwner?: boolean | undefined;
  /** Seconds since 1970: the time of every file and of the image (`SOURCE_DATE_EPOCH`). @default 0 */
  readonly epoch?: number | undefined;
  /** @default oci */
  readonly format?: ImageFormat | undefined;
  readonly progress?: LayerProgress | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told of every file that a layer can't hold and that is left out: devices, FIFOs, sockets, names that mean a deletion. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** The layer of an import has no digest before its end: this is the name by which its progress is reported. */
const layerId = "layer";

/**
 * Makes an image of one layer out of a root file system. The same files give the same digest, whether they come as a folder or as a
 * tar of it in any order: names are in byte order, times are one fixed time, owners are root, and of the attributes of a file only its
 * mode is kept (no extended attributes).
 * @returns The descriptor of the manifest, which is in the store, without a name.
 * @throws LadingError `archive-invalid`, `limit-exceeded`, `not-found` where there is no such folder, `io`, `no-space`, `cancelled`
 */
export async function importRootFilesystem(
  source: RootFilesystemSource,
  options: ImportRootFilesystemOptions,
): Promise<Descriptor> {
  const { into, platform, epoch = 0, format = "oci", signal } = options;
  throwIfAborted(signal);
  const warn = options.onWarning ?? (() => {});
  const files: RootFiles =
    "directory" in source
      ? await readFolder(source.directory, { warn, signal })
      : await readRootTar(source.tar, source.spoolDirectory, { warn, signal });
  try {
    const hasher = createHasher();
    const size = files.entries.reduce((sum, entry) => sum + (entry.type === "file" ? entry.size : 0), 0);
    const layer = async function* () {
      let written = 0;
      for await (const chunk of writeTar(tarEntries(files, options))) {
        throwIfAborted(signal);
        hasher.update(chunk);
        written += chunk.byteLength;
        options.progress?.report(layerId, "compressing", Math.min(written, size), size);
        yield chunk;
      }
    };
    const docker = format === "docker";
    const layerType = docker ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip;
    const descriptor = await into.ingest(layerType, gzipStream(layer(), { signal }), { signal });
    const diffId = hasher.digest();
    await into.rememberLayer?.(diffId, descriptor);
    options.progress?.identify?.(layerId, descriptor.digest);
    const config = await putBytes(
      options,
      docker ? mediaTypes.dockerConfig : mediaTypes.ociConfig,
      configBytes(platform, new Date(epoch * 1000).toISOString().replace(/\.000Z$/, "Z"), diffId),
    );
    const manifest = imageManifestBytes(format, config, [descriptor]);
    return await putBytes(options, manifest.descriptor.mediaType, manifest.bytes);
  } finally {
    await files.close();
  }
}

function* tarEntries(files: RootFiles, options: ImportRootFilesystemOptions): Generator<TarInput> {
  const { keepOwner = false, epoch = 0 } = options;
  for (const entry of inByteOrder(files.entries)) {
    const { name, type, mode, uid, gid } = entry;
    const common = { name, type, mode, mtime: epoch, ...(keepOwner ? { uid, gid } : {}) };
    if (entry.type === "file") yield { ...common, size: entry.size, body: files.read(entry) };
    else if (entry.type === "directory") yield common;
    else yield { ...common, linkName: entry.linkName };
  }
}

/** Sorted by the bytes of the names as they are written; a folder's has its slash, and still comes before what is in it. */
function inByteOrder(entries: readonly RootEntry[]): readonly RootEntry[] {
  return [...entries].sort((left, right) => Buffer.compare(left.name, right.name));
}

/** @see https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md */
function configBytes(platform: Platform, created: string, diffId: string): Uint8Array {
  const { os, architecture, variant } = platform;
  const document = {
    created,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    os,
    config: {},
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [{ created, created_by: "lading import" }],
  };
  return Buffer.from(JSON.stringify(document));
}

async function putBytes(
  { into, signal }: ImportRootFilesystemOptions,
  mediaType: string,
  bytes: Uint8Array,
): Promise<Descriptor> {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  const source = async function* (offset: number) {
    yield bytes.subarray(offset);
  };
  await into.put(descriptor, source, { signal });
  return descriptor;
}
