import { join } from "node:path";
import { type Digest, digestAlgorithm, digestHex, isDigest } from "../oci/digest.js";
import { readSmallFile, replaceFile } from "./durable-file.js";
import { type FileSystem, ifThere, removeFile } from "./file-system.js";

export interface OriginRecordsOptions {
  readonly fs: FileSystem;
  /** One file per image. */
  readonly directory: string;
  /** Makes the folder and gives a name for a new file in the same file system. */
  readonly prepare: (folder: string) => Promise<string>;
}

/** So many repositories are remembered of one image, the latest first. */
const mostOrigins = 4;

/**
 * Where images came from or were sent to, as `host[:port]/path`: so that what is damaged can be fetched again. Never who asked, or with
 * what credentials. They are hints: one that is lost or garbage is not there.
 */
export class OriginRecords {
  readonly #options: OriginRecordsOptions;

  constructor(options: OriginRecordsOptions) {
    this.#options = options;
  }

  /** The repositories that had the image, the latest first. */
  async of(root: Digest): Promise<readonly string[]> {
    const { fs, directory } = this.#options;
    try {
      const bytes = await readSmallFile(fs, join(directory, fileName(root)), 16 * 1024);
      const value: unknown = bytes === null ? [] : JSON.parse(Buffer.from(bytes).toString());
      return Array.isArray(value) ? value.filter((entry) => typeof entry === "string").slice(0, mostOrigins) : [];
    } catch {
      return [];
    }
  }

  async remember(root: Digest, repository: string): Promise<void> {
    const known = await this.of(root);
    if (known[0] === repository) return;
    const { fs, directory, prepare } = this.#options;
    const temporary = await prepare(directory);
    const origins = [repository, ...known.filter((other) => other !== repository)].slice(0, mostOrigins);
    const bytes = Buffer.from(JSON.stringify(origins));
    await replaceFile(fs, join(directory, fileName(root)), bytes, { temporary, durability: "fast" });
  }

  /** Forgets the images that are not among these. */
  async keep(roots: ReadonlySet<Digest>): Promise<void> {
    const { fs, directory } = this.#options;
    for (const name of (await ifThere(fs.readdir(directory))) ?? []) {
      const root = name.replace(/\.json$/, "").replace("-", ":");
      if (!isDigest(root) || !roots.has(root)) await removeFile(fs, join(directory, name));
    }
  }
}

function fileName(root: Digest): string {
  return `${digestAlgorithm(root)}-${digestHex(root)}.json`;
}
