import { LayerIntake } from "../content/archive-layer.js";
import { imageManifestBytes } from "../content/image-manifest.js";
import { throwIfAborted } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import { digestOf } from "../oci/digest.js";
import { mediaTypes } from "../oci/media-types.js";
import type { ExportOptions } from "./engine.js";
import type { ManifestKey } from "./export-root.js";
import {
  dockerImageFolders,
  type ImageFolders,
  type KeptImage,
  type KeptLayer,
  podmanImageFolders,
} from "./image-folders.js";
import { assembleTar } from "./tar-split.js";

/** The folders did not give what they should, or changed meanwhile. */
class FoldersUnusable extends Error {}

/**
 * Exports an image out of the folders in which its engine keeps it: the first layer is on its way at once, and one whose
 * compressed form is known is not even read. (An engine writes every export whole to a file of its own before the first byte.)
 * Layers and config are those that the engine would have exported, by their digests.
 * @param key Under which the image's manifest is remembered.
 * @returns False where the folders can't be used after all, and the engine has to export the image.
 * @throws LadingError as `LocalEngine.exportImage` does
 */
export async function* exportFolders(
  folders: ImageFolders,
  options: ExportOptions,
  key: ManifestKey,
): AsyncGenerator<Descriptor, boolean, undefined> {
  try {
    let last: Descriptor | null = null;
    for await (const descriptor of descriptorsOf(folders, options)) {
      last = descriptor;
      yield descriptor;
    }
    if (last !== null) await options.into.rememberManifest(...key, last);
    return true;
  } catch (error) {
    if (error instanceof FoldersUnusable) return false;
    throw error;
  }
}

/**
 * {@link exportFolders} of what an engine keeps below a folder that this process may read. Also false where the engine keeps the image in
 * another way.
 */
export async function* exportOverlay(
  engine: "docker" | "podman",
  root: string,
  image: KeptImage,
  options: ExportOptions,
  key: ManifestKey,
): AsyncGenerator<Descriptor, boolean, undefined> {
  const folders = await (engine === "docker" ? dockerImageFolders(root, image) : podmanImageFolders(root, image));
  return folders !== null && (yield* exportFolders(folders, options, key));
}

async function* descriptorsOf(
  { config, layers }: ImageFolders,
  options: ExportOptions,
): AsyncGenerator<Descriptor, void, undefined> {
  const { into, format, signal, progress } = options;
  const intake = new LayerIntake({ into, format, progress, signal });
  const taken: Descriptor[] = [];
  const cached = layers.map(({ diffId }) => intake.cached(diffId));
  for (const look of cached) look.catch(() => undefined);
  for (const [index, layer] of layers.entries()) {
    // A layer that comes twice is known once it has been taken.
    const known = (await cached[index]) ?? (await intake.cached(layer.diffId));
    if (known !== null) {
      progress?.report(layer.diffId, "exporting", layer.size, layer.size);
      progress?.identify?.(layer.diffId, known.digest);
    }
    const descriptor = known ?? (await takeLayer(intake, layer, signal));
    taken.push(descriptor);
    yield descriptor;
  }
  const put = async (descriptor: Descriptor, bytes: Uint8Array): Promise<Descriptor> => {
    const source = async function* (offset: number) {
      yield bytes.subarray(offset);
    };
    await into.put(descriptor, source, { signal });
    return descriptor;
  };
  const mediaType = format === "docker" ? mediaTypes.dockerConfig : mediaTypes.ociConfig;
  const configDescriptor = { mediaType, digest: digestOf(config), size: config.byteLength };
  yield await put(configDescriptor, config);
  const manifest = imageManifestBytes(format, configDescriptor, taken);
  yield await put(manifest.descriptor, manifest.bytes);
}

async function takeLayer(intake: LayerIntake, layer: KeptLayer, signal: AbortSignal | undefined): Promise<Descriptor> {
  const { diffId, size } = layer;
  let unusable: unknown = null;
  const tar = async function* () {
    try {
      yield* assembleTar(layer, signal);
    } catch (error) {
      unusable = error;
      throw error;
    }
  };
  try {
    const { diffId: found, descriptor } = await intake.take(tar(), { name: diffId, size, claimed: diffId });
    if (found === diffId) return descriptor;
    unusable = new Error(`the folder of ${diffId} gives ${found}`);
  } catch (error) {
    throwIfAborted(signal);
    // What the store says is final; what the folders say is not.
    if (unusable === null) throw error;
  }
  throw new FoldersUnusable(`the engine's folder of ${diffId} can't be used`, { cause: unusable });
}
