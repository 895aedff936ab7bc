import { access, constants, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestHex, digestOf, isDigest } from "../oci/digest.js";
import { limits } from "../oci/limits.js";
import { isJsonObject, type JsonObject } from "./json-lines.js";
import { chainIds } from "./legacy-layer-id.js";
import type { LayerFolder } from "./tar-split.js";

export interface KeptLayer extends LayerFolder {
  readonly diffId: Digest;
  /** Bytes of its tar, or of its files where that is what is known. */
  readonly size: number;
}

/** An image as an engine keeps it in folders that this process may read. */
export interface ImageFolders {
  /** As it was loaded: its digest is the image's ID. */
  readonly config: Buffer;
  /** Lowest first. */
  readonly layers: readonly KeptLayer[];
}

export interface KeptImage {
  readonly id: Digest;
  readonly diffIds: readonly Digest[];
}

/**
 * An image in the folder of a Docker Engine with the overlay2 driver. Null where it is not there, can't be read (Docker's
 * folder is root's), or is kept in another way: then the engine has to export it.
 * @param root The engine's `DockerRootDir`.
 */
export async function dockerImageFolders(root: string, { id, diffIds }: KeptImage): Promise<ImageFolders | null> {
  const database = join(root, "image", "overlay2");
  return await whole(id, diffIds, join(database, "imagedb", "content", "sha256", digestHex(id)), async () =>
    Promise.all(
      chainIds(diffIds).map(async (chainId, index) => {
        const record = join(database, "layerdb", "sha256", digestHex(chainId));
        const text = async (name: string) => (await readFile(join(record, name), "utf8")).trim();
        const [diff, cacheId, size] = await Promise.all([text("diff"), text("cache-id"), text("size")]);
        if (diff !== diffIds[index] || !/^[A-Za-z0-9-]+$/.test(cacheId)) throw new Error("not the layer");
        const files = join(root, "overlay2", cacheId, "diff");
        return { diffId: diff as Digest, size: Number(size), files, tarSplit: join(record, "tar-split.json.gz") };
      }),
    ),
  );
}

/**
 * The same for Podman's storage with the overlay driver.
 * @param root Its `graphRoot`.
 */
export async function podmanImageFolders(root: string, { id, diffIds }: KeptImage): Promise<ImageFolders | null> {
  const name = digestHex(id);
  // What belongs to an image lies under its key, in base64 since keys are any text.
  const config = join(root, "overlay-images", name, `=${Buffer.from(id).toString("base64")}`);
  return await whole(id, diffIds, config, async () => {
    const images = await records(join(root, "overlay-images", "images.json"));
    const all = await records(join(root, "overlay-layers", "layers.json"));
    const byId = new Map(all.map((layer) => [layer.id, layer]));
    const chain: JsonObject[] = [];
    let next = byId.get(images.find((image) => image.id === name)?.layer);
    while (next !== undefined && chain.length <= limits.layers) {
      chain.unshift(next);
      next = byId.get(next.parent);
    }
    if (chain.length !== diffIds.length) throw new Error("not the image's layers");
    const splits = new Set(await readdir(join(root, "overlay-layers")));
    return chain.map((layer, index) => {
      const diffId = layer["diff-digest"];
      const split = `${String(layer.id)}.tar-split.gz`;
      if (!isDigest(diffId) || diffId !== diffIds[index] || !/^[a-f0-9]{64}$/.test(String(layer.id))) {
        throw new Error("not the layer");
      }
      if (!splits.has(split)) throw new Error("not loaded from a tar");
      const files = join(root, "overlay", String(layer.id), "diff");
      const tarSplit = join(root, "overlay-layers", split);
      return { diffId, size: Number(layer["diff-size"]), files, tarSplit };
    });
  });
}

/** Whether this process may look into an engine's folder. */
export async function canRead(folder: string): Promise<boolean> {
  return await access(folder, constants.R_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function whole(
  id: Digest,
  diffIds: readonly Digest[],
  configPath: string,
  layers: () => Promise<readonly KeptLayer[]>,
): Promise<ImageFolders | null> {
  if (diffIds.length > limits.layers) return null;
  try {
    const config = await readFile(configPath);
    return digestOf(config) === id ? { config, layers: await layers() } : null;
  } catch {
    // Whatever it is, the engine itself can read it.
    return null;
  }
}

async function records(path: string): Promise<readonly JsonObject[]> {
  const value: unknown = JSON.parse(await readFile(path, "utf8"));
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}
