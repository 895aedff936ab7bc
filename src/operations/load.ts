import { stat } from "node:fs/promises";
import { abortable } from "../content/abortable.js";
import { copyBlobs, copyManifests } from "../content/copy.js";
import type { TransferStore } from "../content/layer-cache.js";
import { LayoutStore } from "../content/layout.js";
import { manifestReader, walkTree } from "../content/walk.js";
import type { EngineKind } from "../engines/engine.js";
import { isLadingError, LadingError } from "../errors.js";
import type { LocalImage } from "../image/local-image.js";
import type { ImageProgress } from "../image/progress.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { Platform } from "../oci/platform.js";
import type { ClientContext } from "./context.js";
import { checkSource, fileBytes, isDirectory, sidedAsRead } from "./file-source.js";
import { intoEngine, type LoadedImage, type Offered } from "./into-engine.js";
import { selectManifest, wantedPlatform } from "./selection.js";
import { type TransferProgress, withProgress } from "./transfer-progress.js";

/** A file or an OCI layout folder by its path, or an archive's bytes. */
export type LoadSource = string | AsyncIterable<Uint8Array>;

/** Options of `load`. */
export interface LoadOptions {
  /** Names that are other images already move. @default false */
  readonly force?: boolean | null | undefined;
  readonly progress?: ImageProgress | null | undefined;
  /** `os/architecture[/variant]`: one image of each index. Default: all that there is, as far as the engine keeps it. */
  readonly platform?: string | null | undefined;
}

/** The result of `load` as JSON. */
export interface LoadJson {
  readonly engine: EngineKind;
  readonly images: readonly { readonly local: string | null; readonly id: string; readonly digest: string }[];
}

/** The images that `load` brought into the engine. */
export interface LoadResult {
  readonly engine: EngineKind;
  readonly images: readonly LoadedImage[];
  toJSON(): LoadJson;
}

/** Reads every image of an archive into the store first, whole and verified, and only then gives the engine names. */
export async function load(
  context: ClientContext,
  source: LoadSource,
  options: LoadOptions,
  callerSignal: AbortSignal,
): Promise<LoadResult> {
  checkSource(source);
  const loading = async (progress: TransferProgress, signal: AbortSignal) => {
    const { kind } = await context.engine(signal);
    const platform = wantedPlatform(options.platform, context.config.platform, null);
    const offered = await readImages(context, source, platform, progress, signal).catch((error: unknown) => {
      throw sidedAsRead(error, source);
    });
    const images = await intoEngine(context, offered, options.force ?? false, progress, signal);
    return loadResult(kind, images);
  };
  return await context.holding(() => withProgress(options.progress, callerSignal, loading));
}

async function readImages(
  context: ClientContext,
  source: LoadSource,
  platform: Platform | null,
  progress: TransferProgress,
  signal: AbortSignal,
): Promise<readonly Offered[]> {
  const store = await context.store();
  if (typeof source === "string" && (await isDirectory(source, "an archive of images, or a folder with an OCI layout")))
    return await readLayout(context, source, store, platform, signal);
  const { readImageArchive } = await import("../content/archive.js");
  // An archive takes about its own size in the store; of a stream nobody knows how long it is.
  if (typeof source === "string") await context.requireSpace((await stat(source)).size);
  const bytes = abortable(typeof source === "string" ? fileBytes(source) : source, signal);
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

function loadResult(engine: EngineKind, images: readonly LoadedImage[]): LoadResult {
  const json: LoadJson = {
    engine,
    images: images.map(({ local, id, digest }) => ({ local: local?.toString() ?? null, id, digest })),
  };
  return { engine, images, toJSON: () => json };
}
