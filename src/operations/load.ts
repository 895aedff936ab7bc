import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { copyBlobs, copyManifests } from "../content/copy.js";
import type { TransferStore } from "../content/layer-cache.js";
import { LayoutStore } from "../content/layout.js";
import { manifestReader, walkTree } from "../content/walk.js";
import type { EngineInfo, EngineKind } from "../engines/engine.js";
import { ioError, isLadingError, LadingError } from "../errors.js";
import { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { isIndexType } from "../oci/media-types.js";
import { type Platform, parsePlatform } from "../oci/platform.js";
import type { ClientContext } from "./context.js";
import { refuseToMoveNames } from "./local.js";
import { selectManifest, wantedPlatform } from "./selection.js";
import { TransferProgress } from "./transfer-progress.js";

/** A file or an OCI layout folder by its path, or an archive's bytes. */
export type LoadSource = string | AsyncIterable<Uint8Array>;

export interface LoadOptions {
  /** Names that are other images already move. @default false */
  readonly force?: boolean | null | undefined;
  readonly progress?: ImageProgress | null | undefined;
  /** `os/architecture[/variant]`: one image of each index. Default: all that there is, as far as the engine keeps it. */
  readonly platform?: string | null | undefined;
}

export interface LoadedImage {
  /** Null for an image without a name. */
  readonly local: LocalImage | null;
  /** The engine's ID. */
  readonly id: Digest;
  /** The manifest's or index's digest. */
  readonly digest: Digest;
}

export interface LoadJson {
  readonly engine: EngineKind;
  readonly images: readonly { readonly local: string | null; readonly id: string; readonly digest: string }[];
}

export interface LoadResult {
  readonly engine: EngineKind;
  readonly images: readonly LoadedImage[];
  toJSON(): LoadJson;
}

/** What an archive or a layout holds, once it is in the store. */
interface Offered {
  readonly root: Descriptor;
  readonly names: readonly LocalImage[];
}

/** Reads every image of an archive into the store first, whole and verified, and only then gives the engine names. */
export async function load(
  context: ClientContext,
  source: LoadSource,
  options: LoadOptions,
  callerSignal: AbortSignal,
): Promise<LoadResult> {
  return await withProgress(options.progress, callerSignal, async (progress, signal) => {
    const { kind } = await context.engine();
    const platform = wantedPlatform(options.platform, context.config.platform, null);
    const offered = await readImages(context, source, platform, progress, signal);
    const images = await intoEngine(context, offered, options.force ?? false, progress, signal);
    return loadResult(kind, images);
  });
}

/** A folder or a tar by its path, or a tar's bytes. */
export type ImportSource = string | AsyncIterable<Uint8Array>;

/** `platform` is the image's own here. Default: the engine's. */
export interface ImportOptions extends LoadOptions {
  /** Keep owners instead of uid and gid 0. @default false */
  readonly keepOwner?: boolean | null | undefined;
}

export interface ImportJson {
  readonly engine: EngineKind;
  readonly local: string;
  readonly id: string;
  readonly digest: string;
}

export interface ImportResult {
  readonly engine: EngineKind;
  readonly local: LocalImage;
  readonly id: Digest;
  readonly digest: Digest;
  toJSON(): ImportJson;
}

/** A one-layer image of files, the same digest each time. */
export async function importImage(
  context: ClientContext,
  source: ImportSource,
  name: LocalImage,
  options: ImportOptions,
  callerSignal: AbortSignal,
): Promise<ImportResult> {
  return await withProgress(options.progress, callerSignal, async (progress, signal) => {
    const { engine, kind } = await context.engine();
    const info = await engine.info(signal);
    const store = await context.store();
    const { importRootFilesystem } = await import("../content/root-filesystem.js");
    const platform = options.platform ?? context.config.platform;
    const root = await importRootFilesystem(await rootFilesystem(source, store.directory), {
      into: store,
      platform: platform === null ? info.platform : parsePlatform(platform),
      keepOwner: options.keepOwner ?? false,
      epoch: sourceDateEpoch(context.env),
      signal,
      progress,
      onWarning: (text) => context.warn(text),
    });
    const local = name.tag === null ? new LocalImage(name.name, "latest") : name;
    const images = await intoEngine(context, [{ root, names: [local] }], options.force ?? false, progress, signal);
    const id = images[0]?.id ?? root.digest;
    const json: ImportJson = { engine: kind, local: local.toString(), id, digest: root.digest };
    return { engine: kind, local, id, digest: root.digest, toJSON: () => json };
  });
}

async function rootFilesystem(source: ImportSource, spoolDirectory: string) {
  if (typeof source !== "string") return { tar: source, spoolDirectory };
  return (await isDirectory(source)) ? { directory: source } : { tar: fileBytes(source), spoolDirectory };
}

/** @throws LadingError `config-invalid` */
function sourceDateEpoch(env: Readonly<Record<string, string | undefined>>): number {
  const text = env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === "") return 0;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new LadingError("config-invalid", "SOURCE_DATE_EPOCH is not a number of seconds", {
    hint: "see reproducible-builds.org: seconds since 1970",
  });
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new LadingError("not-found", `there is no ${path}`, { side: "source", cause: error });
    }
    throw ioError(error, `looking at ${path}`, { side: "source" });
  }
}

async function* fileBytes(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw ioError(error, `reading ${path}`, { side: "source" });
  }
}

async function readImages(
  context: ClientContext,
  source: LoadSource,
  platform: Platform | null,
  progress: TransferProgress,
  signal: AbortSignal,
): Promise<readonly Offered[]> {
  const store = await context.store();
  if (typeof source === "string" && (await isDirectory(source)))
    return await readLayout(context, source, store, platform, signal);
  const { readImageArchive } = await import("../content/archive.js");
  const bytes = typeof source === "string" ? fileBytes(source) : source;
  const archive = readImageArchive(bytes, { into: store, format: "docker", platform, progress, signal });
  for await (const _descriptor of archive) {
    // Each is in the store by now; what the archive holds is known at its end.
  }
  return archive.images.map(({ root, names }) => ({ root, names: localNames(context, names) }));
}

/** Names of other tools that can't be names here are left out; the image stays reachable by its ID. */
function localNames(context: ClientContext, names: readonly string[]): LocalImage[] {
  return names.flatMap((name) => {
    try {
      return [context.parser.localImage(name)];
    } catch (error) {
      if (!isLadingError(error)) throw error;
      context.warn(`left out the name ${JSON.stringify(name)}: ${error.message}`);
      return [];
    }
  });
}

async function readLayout(
  context: ClientContext,
  directory: string,
  store: TransferStore,
  platform: Platform | null,
  signal: AbortSignal,
): Promise<readonly Offered[]> {
  const layout = new LayoutStore(directory);
  const byDigest = new Map<Digest, { readonly root: Descriptor; readonly names: LocalImage[] }>();
  for (const root of await layout.roots()) byDigest.set(root.digest, { root, names: [] });
  for (const { name, descriptor } of await layout.entries()) {
    byDigest.get(descriptor.digest)?.names.push(...localNames(context, [name]));
  }
  if (byDigest.size === 0) {
    throw new LadingError("archive-invalid", `${directory} is no OCI layout, or an empty one`, {
      side: "source",
      hint: "to make an image of the folder's files: lading import",
    });
  }
  const read = manifestReader(layout, signal);
  const offered: Offered[] = [];
  for (const { root: top, names } of byDigest.values()) {
    const root = platform === null ? top : (await selectManifest(await read(top), platform, read)).image.descriptor;
    const tree = await walkTree(root, read);
    offered.push({ root, names });
    await copyBlobs(tree.blobs, {
      source: layout,
      destination: store,
      limiter: context.blobs,
      shared: context.shared,
      sharedKey: `load ${context.identity(layout)}`,
      signal,
    });
    await copyManifests(tree.manifests, store, signal);
  }
  return offered;
}

/** The store and Docker's containerd store keep an index whole; the others take their own platform. */
function platformFor(info: EngineInfo, root: Descriptor) {
  const whole = info.imageStore === "oci-layout" || info.imageStore === "containerd";
  return whole || !isIndexType(root.mediaType) ? null : info.platform;
}

async function intoEngine(
  context: ClientContext,
  offered: readonly Offered[],
  force: boolean,
  progress: TransferProgress,
  signal: AbortSignal,
): Promise<readonly LoadedImage[]> {
  const { engine } = await context.engine();
  const info = await engine.info(signal);
  const store = await context.store();
  // All names are looked at before the first one moves: a refusal leaves everything as it was.
  for (const { root, names } of offered) {
    const ids = await possibleIds(context, root, signal);
    await refuseToMoveNames(context, names, ({ id }) => ids.has(id), force, signal);
  }
  const images: LoadedImage[] = [];
  for (const { root, names } of offered) {
    const platform = platformFor(info, root);
    const { id } = await engine.importImage(root, { from: store, names, platform, signal, progress });
    if (names.length === 0) images.push({ local: null, id, digest: root.digest });
    for (const local of names) images.push({ local, id, digest: root.digest });
  }
  return images;
}

/** What an engine may call this image: its root, its manifests or their configs, by kind of engine. */
async function possibleIds(
  context: ClientContext,
  root: Descriptor,
  signal: AbortSignal,
): Promise<ReadonlySet<Digest>> {
  const tree = await walkTree(root, manifestReader(await context.store(), signal));
  const ids = new Set<Digest>();
  for (const { descriptor, manifest } of tree.manifests) {
    ids.add(descriptor.digest);
    if (manifest.kind === "image") ids.add(manifest.config.digest);
  }
  return ids;
}

async function withProgress<T>(
  progress: ImageProgress | null | undefined,
  callerSignal: AbortSignal,
  work: (progress: TransferProgress, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const failure = new AbortController();
  const tracker = new TransferProgress({ progress, onFailure: (error) => failure.abort(error) });
  try {
    const result = await work(tracker, AbortSignal.any([callerSignal, failure.signal]));
    if (failure.signal.aborted) throw failure.signal.reason;
    return result;
  } catch (error) {
    throw failure.signal.aborted ? failure.signal.reason : error;
  } finally {
    tracker.close();
  }
}

function loadResult(engine: EngineKind, images: readonly LoadedImage[]): LoadResult {
  const json: LoadJson = {
    engine,
    images: images.map(({ local, id, digest }) => ({ local: local?.toString() ?? null, id, digest })),
  };
  return { engine, images, toJSON: () => json };
}
