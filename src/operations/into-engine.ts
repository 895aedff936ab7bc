import { manifestReader, walkTree } from "../content/walk.js";
import type { EngineInfo } from "../engines/engine.js";
import type { LocalImage } from "../image/local-image.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import { isIndexType } from "../oci/media-types.js";
import type { ClientContext } from "./context.js";
import { refuseToMoveNames } from "./local.js";
import type { TransferProgress } from "./transfer-progress.js";

/** What an archive or a layout holds, once it is in the store. */
export interface Offered {
  readonly root: Descriptor;
  readonly names: readonly LocalImage[];
}

/** An image that was loaded. */
export interface LoadedImage {
  /** Null for an image without a name. */
  readonly local: LocalImage | null;
  /** The engine's ID. */
  readonly id: Digest;
  /** The manifest's or index's digest. */
  readonly digest: Digest;
}

/** The store and Docker's containerd store keep an index whole; the others take their own platform. */
function platformFor(info: EngineInfo, root: Descriptor) {
  const whole = info.imageStore === "oci-layout" || info.imageStore === "containerd";
  return whole || !isIndexType(root.mediaType) ? null : info.platform;
}

/** Gives images that are whole in the store to the engine. All names or none: a refusal comes before the first moves. */
export async function intoEngine(
  context: ClientContext,
  offered: readonly Offered[],
  force: boolean,
  progress: TransferProgress,
  signal: AbortSignal,
): Promise<readonly LoadedImage[]> {
  const { engine } = await context.engine(signal);
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
    const { layers } = await walkTree(root, manifestReader(store, signal));
    for (const layer of layers) progress.finish(layer.digest, "done", layer.size);
    if (names.length === 0) images.push({ local: null, id, digest: root.digest });
    for (const local of names) images.push({ local, id, digest: root.digest });
  }
  progress.finishRest();
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
