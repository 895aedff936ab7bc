import { join } from "node:path";
import { type FileSystem, ifThere } from "../../content/file-system.js";
import { LadingError } from "../../errors.js";
import { writeWhole } from "./durable.js";
import type { RecordFilesOptions } from "./record-files.js";
import type { Records } from "./storage.js";

/** Says what a folder is, and in which layout, so that a later one can migrate it. */
const versionFile = "lading-registry.json";

/** What lies in a folder of ours. Anything else in a folder without a version file is somebody else's. */
const ours =
  /^(?:auth|blobs|corrupt|gc|meta|repos|tmp|held\.json|lading-registry\.json|write\.lock.*|lost\+found|\..*)$/;

/** One step forward: from the layout of its place in the table (the first is from 1 to 2) to the next. */
export type Migration = (records: Records) => Promise<void>;

/**
 * Every step may be cut short and is then made again from its start, so that it must bear what it has done already.
 *
 * 1 to 2: links, manifests and blobs may be condemned. Nothing is rewritten; but a program that knows layout 1 alone
 * would use what is condemned without reviving it, so that it must not write here any more.
 */
const migrations: readonly Migration[] = [async () => undefined];

/** The layout that this version writes. */
export const layoutVersion = migrations.length + 1;

async function readVersion(fs: FileSystem, root: string): Promise<number | null> {
  const path = join(root, versionFile);
  const text = await ifThere(fs.readFile(path, "utf8"));
  if (text === null) return null;
  try {
    const { version } = JSON.parse(text) as { readonly version?: unknown };
    if (typeof version === "number" && Number.isInteger(version) && version >= 1) return version;
  } catch (cause) {
    throw new LadingError("config-invalid", `${path} is damaged`, { cause });
  }
  throw new LadingError("config-invalid", `${path} is damaged: it names no version`);
}

/**
 * Whether a folder may be read: one that is older may, as it is.
 * @throws LadingError `config-invalid` where it holds something else or a newer layout
 */
export async function checkLayout(fs: FileSystem, root: string): Promise<void> {
  const version = await readVersion(fs, root);
  if (version === null) {
    const foreign = ((await ifThere(fs.readdir(root))) ?? []).find((name) => !ours.test(name));
    if (foreign === undefined) return;
    throw new LadingError("config-invalid", `${root} is not a registry's folder: it holds ${foreign}`, {
      hint: "name an empty folder, or one that does not exist yet",
    });
  }
  if (version > layoutVersion) {
    throw new LadingError("config-invalid", `${root} has the layout ${version}, not ${layoutVersion}`, {
      hint: "use the version of Lading that made it, or a newer one",
    });
  }
}

/**
 * Makes a folder one of the newest layout. To be called under its lock.
 * @param table For tests.
 */
export async function makeLayout(
  root: string,
  records: Records,
  files: RecordFilesOptions,
  table: readonly Migration[] = migrations,
): Promise<void> {
  const { fs, ...options } = files;
  const write = async (version: number): Promise<void> => {
    const text = `${JSON.stringify({ layout: "lading-registry", version })}\n`;
    await writeWhole(fs, join(root, versionFile), new TextEncoder().encode(text), options);
  };
  const newest = table.length + 1;
  const version = await readVersion(fs, root);
  if (version === null) return await write(newest);
  for (let from = version; from < newest; from++) {
    await table[from - 1]?.(records);
    await write(from + 1);
  }
}
