import { join } from "node:path";
import { bareDescriptor, type Descriptor } from "../oci/descriptor.js";
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.js";
import { parseDescriptor } from "../oci/manifest.js";
import { readSmallFile, replaceFile } from "./durable-file.js";
import { type FileSystem, ifThere, removeFile } from "./file-system.js";
import type { ImageFormat, LayerCache } from "./layer-cache.js";

export interface LayerRecordsOptions {
  readonly fs: FileSystem;
  /** Holds `layers/` and `manifests/`. */
  readonly directory: string;
  /** Makes the folder and gives a name for a new file in the same file system. */
  readonly prepare: (folder: string) => Promise<string>;
}

/**
 * The memory of layers as one small file each. They are hints: one that is lost or garbage costs a compression,
 * so they are not flushed to the disk, and whatever does not parse is not there.
 */
export class LayerRecords implements LayerCache {
  readonly #options: LayerRecordsOptions;

  constructor(options: LayerRecordsOptions) {
    this.#options = options;
  }

  async compressedLayer(diffId: Digest): Promise<Descriptor | null> {
    return await this.#read("layers", fileName(diffId));
  }

  async rememberLayer(diffId: Digest, compressed: Descriptor): Promise<void> {
    await this.#write("layers", fileName(diffId), compressed);
  }

  async manifestFor(imageId: Digest, format: ImageFormat | "original", platform: string): Promise<Descriptor | null> {
    return await this.#read("manifests", fileName(imageId, format, platform));
  }

  async rememberManifest(
    imageId: Digest,
    format: ImageFormat | "original",
    platform: string,
    manifest: Descriptor,
  ): Promise<void> {
    await this.#write("manifests", fileName(imageId, format, platform), manifest);
  }

  /** Everything that is remembered. */
  async *all(): AsyncGenerator<Descriptor> {
    const { fs, directory } = this.#options;
    for (const folder of ["layers", "manifests"]) {
      for (const name of (await ifThere(fs.readdir(join(directory, folder)))) ?? []) {
        const descriptor = await this.#read(folder, name);
        if (descriptor !== null) yield descriptor;
      }
    }
  }

  /** Removes the records of content that is gone. */
  async prune(has: (descriptor: Descriptor) => Promise<boolean>): Promise<void> {
    const { fs, directory } = this.#options;
    for (const folder of ["layers", "manifests"]) {
      for (const name of (await ifThere(fs.readdir(join(directory, folder)))) ?? []) {
        const descriptor = await this.#read(folder, name);
        if (descriptor === null || !(await has(descriptor))) await removeFile(fs, join(directory, folder, name));
      }
    }
  }

  async #read(folder: string, name: string): Promise<Descriptor | null> {
    try {
      const bytes = await readSmallFile(this.#options.fs, join(this.#options.directory, folder, name), 4096);
      return bytes === null ? null : bareDescriptor(parseDescriptor(JSON.parse(Buffer.from(bytes).toString())));
    } catch {
      return null;
    }
  }

  async #write(folder: string, name: string, descriptor: Descriptor): Promise<void> {
    const { fs, directory, prepare } = this.#options;
    const path = join(directory, folder);
    const temporary = await prepare(path);
    const bytes = Buffer.from(JSON.stringify(bareDescriptor(descriptor)));
    await replaceFile(fs, join(path, name), bytes, { temporary, durability: "fast" });
  }
}

function fileName(digest: Digest, ...rest: readonly string[]): string {
  const parts = [`${digestAlgorithm(digest)}-${digestHex(digest)}`, ...rest.map(encodeURIComponent)];
  return `${parts.join("+")}.json`;
}
