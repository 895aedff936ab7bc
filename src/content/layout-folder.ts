import { join } from "node:path";
import { LadingError } from "../errors.js";
import { type Digest, isDigest } from "../oci/digest.js";
import { type Durability, readSmallFile, replaceFile, writeNewFile } from "./durable-file.js";
import { type FileSystem, ifThere, removeFile } from "./file-system.js";
import { LayoutIndex } from "./layout-index.js";
import type { LeftFile } from "./left-file.js";
import type { PartialFolder } from "./partial.js";
import { makeFolder, refuseLink } from "./real-folder.js";

export interface LayoutFolderOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  readonly durability: Durability;
  /** A new random name each time. */
  readonly random: () => string;
}

/** Beside the standard's files: what is not content. */
export const privateFolder = ".lading";
const layoutVersion = "1.0.0";
/** The folder of damaged blobs, in the private folder. */
const corrupt = "corrupt";

/** The folder of an OCI layout: how it comes to be, and how it is kept tidy. */
export class LayoutFolder {
  readonly #options: LayoutFolderOptions;

  constructor(options: LayoutFolderOptions) {
    this.#options = options;
  }

  path(...parts: readonly string[]): string {
    return join(this.#options.directory, ...parts);
  }

  /**
   * Makes what is missing.
   * @throws LadingError `conflict` for a folder with other things in it, `unsupported` for another version
   */
  async make(partials: PartialFolder): Promise<void> {
    const { fs, directory, durability } = this.#options;
    const marker = this.path("oci-layout");
    await fs.mkdir(directory, { recursive: true, mode: 0o700 });
    const before = await readSmallFile(fs, marker, 4096);
    if (before === null) await this.#refuseForeign();
    else this.#checkVersion(before);
    for (const folder of ["blobs", privateFolder, join(privateFolder, "partial")]) {
      await makeFolder(fs, this.path(folder), durability);
    }
    if (before !== null) return;
    // The standard asks for an index in every layout, also an empty one.
    await this.#makeIndex(partials.temporary());
    const bytes = Buffer.from(JSON.stringify({ imageLayoutVersion: layoutVersion }));
    await replaceFile(fs, marker, bytes, { temporary: partials.temporary(), durability });
  }

  /** Removes the private folder, unless it holds anything. */
  async tidy(): Promise<void> {
    const { fs } = this.#options;
    try {
      await fs.rmdir(this.path(privateFolder, "partial"));
      await fs.rmdir(this.path(privateFolder));
    } catch {
      // Something is in it, or it is not there.
    }
  }

  /**
   * Moves a damaged blob out of the way, so that it is fetched again; a layout that others made is left alone. It stays there
   * until somebody prunes the store: what a user lost is not removed behind the user's back.
   * @returns Where it is now; null where it stayed, or is gone.
   */
  async quarantine(path: string, digest: Digest): Promise<string | null> {
    const { fs, random } = this.#options;
    if (!(await refuseLink(fs, this.path(privateFolder)))) return null;
    await makeFolder(fs, this.path(privateFolder, corrupt), "fast");
    const aside = this.path(privateFolder, corrupt, `${digest.replace(":", "-")}.${random()}`);
    return (await ifThere(fs.rename(path, aside).then(() => aside))) ?? null;
  }

  /** Damaged blobs that were put aside. */
  async quarantined(): Promise<readonly LeftFile[]> {
    const { fs } = this.#options;
    const folder = this.path(privateFolder, corrupt);
    const found: LeftFile[] = [];
    for (const name of (await ifThere(fs.readdir(folder))) ?? []) {
      const path = join(folder, name);
      const stat = await ifThere(fs.lstat(path));
      const digest = name.replace(/\..*$/, "").replace("-", ":");
      if (stat === null || stat.isDirectory()) continue;
      found.push({ path, digest: isDigest(digest) ? digest : null, size: stat.size, since: stat.ctimeMs });
    }
    return found;
  }

  async #makeIndex(temporary: string): Promise<void> {
    const { fs, durability } = this.#options;
    await writeNewFile(fs, temporary, LayoutIndex.empty.bytes(), { durability, mode: 0o600 });
    // A link never replaces the index that another process may have written by now.
    await fs.link(temporary, this.path("index.json")).catch(() => {});
    await removeFile(fs, temporary);
  }

  #checkVersion(bytes: Uint8Array): void {
    let version: unknown;
    try {
      const value = JSON.parse(Buffer.from(bytes).toString()) as { imageLayoutVersion?: unknown } | null;
      version = value?.imageLayoutVersion;
    } catch {
      // Said below.
    }
    if (typeof version === "string" && version.startsWith("1.")) return;
    throw new LadingError("unsupported", `${this.#options.directory} is no OCI image layout of version 1`, {
      hint: "choose another folder with --store",
    });
  }

  /** A folder that holds other things is somebody's, and was given by mistake. */
  async #refuseForeign(): Promise<void> {
    const { fs, directory } = this.#options;
    const other = (await fs.readdir(directory)).find((name) => !harmless.has(name));
    if (other === undefined) return;
    throw new LadingError("conflict", `${directory} is no OCI image layout, and it is not empty: it holds ${other}`, {
      hint: "choose an empty folder, or one that does not exist",
    });
  }
}

/** What a layout holds whose making was interrupted, or a fresh disk; `oci-layout` may have been made meanwhile. */
const harmless: ReadonlySet<string> = new Set(["blobs", "index.json", "lost+found", "oci-layout", privateFolder]);
