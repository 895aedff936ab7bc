import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, statfs, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ioError, LadingError, throwIfAborted } from "../errors.js";
import { limits } from "../oci/limits.js";
import { decompress, sniffCompression } from "./decompress.js";
import { peek } from "./peek.js";
import {
  isWhiteout,
  linkGroup,
  type ReadRootOptions,
  type RootEntry,
  type RootFile,
  type RootFiles,
} from "./root-files.js";
import { readTar, type TarEntry } from "./tar.js";
import { invalidArchive, shownName } from "./tar-header.js";

const chunkSize = 1024 * 1024;
/** Files up to this many bytes are written without a look at the disk. */
const checkedSize = 16 * 1024 * 1024;

interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Content that one or several names have. */
interface Content {
  readonly names: Buffer[];
  readonly attributes: Attributes;
  readonly size: number;
  readonly offset: number;
}

type Found =
  | { readonly kind: "file"; readonly content: Content }
  | { readonly kind: "symlink"; readonly linkName: Buffer; readonly attributes: Attributes }
  | { readonly kind: "directory"; readonly attributes: Attributes }
  | { readonly kind: "skipped" };

/**
 * The files of a tar. A tar may have them in any order and a layer has them in one, so contents wait in a file of their own, which has
 * no name while it is used (where the system allows that) and is gone whatever happens.
 */
export async function readRootTar(
  source: AsyncIterable<Uint8Array>,
  spoolDirectory: string,
  options: ReadRootOptions,
): Promise<RootFiles> {
  const spool = await Spool.create(spoolDirectory);
  try {
    const found = await collect(source, spool, options);
    return {
      entries: rootEntries(found),
      read: (file) => spool.read(file, options.signal),
      close: () => spool.close(),
    };
  } catch (error) {
    await spool.close();
    throw error;
  }
}

async function collect(
  source: AsyncIterable<Uint8Array>,
  spool: Spool,
  { warn, signal }: ReadRootOptions,
): Promise<Map<string, Found>> {
  // Keyed by the bytes of the name, one character each.
  const found = new Map<string, Found>();
  for await (const entry of readTar(plain(source, signal), { maxEntries: "rootEntries", signal })) {
    const name = cleanName(entry.rawName);
    if (name.length === 0) continue;
    const key = name.toString("latin1");
    const before = found.get(key);
    if (before !== undefined && !(before.kind === "directory" && entry.type === "directory")) {
      throw invalidArchive(`the archive has ${shownName(name.toString())} twice`);
    }
    if (isWhiteout(name)) warn(`${name} is left out: in a layer this name would delete a file`);
    found.set(key, isWhiteout(name) ? { kind: "skipped" } : await take(name, entry, found, spool, warn));
  }
  return found;
}

async function take(
  name: Buffer,
  entry: TarEntry,
  found: ReadonlyMap<string, Found>,
  spool: Spool,
  warn: (text: string) => void,
): Promise<Found> {
  const attributes = { mode: entry.mode, uid: entry.uid, gid: entry.gid };
  switch (entry.type) {
    case "directory":
      return { kind: "directory", attributes };
    case "symlink":
      return { kind: "symlink", linkName: Buffer.from(entry.rawLinkName), attributes };
    case "file": {
      const offset = await spool.write(entry.body, entry.size);
      return { kind: "file", content: { names: [name], attributes, size: entry.size, offset } };
    }
    case "hardlink": {
      const target = found.get(cleanName(entry.rawLinkName).toString("latin1"));
      if (target === undefined || target.kind === "directory") {
        throw invalidArchive(
          `${shownName(entry.name)} is a link to ${shownName(entry.linkName)}, which is not before it`,
        );
      }
      if (target.kind === "file") target.content.names.push(name);
      return target;
    }
    default:
      warn(`${name} is left out: it is a ${entry.type}`);
      return { kind: "skipped" };
  }
}

function rootEntries(found: ReadonlyMap<string, Found>): readonly RootEntry[] {
  const entries: RootEntry[] = [];
  for (const [key, each] of found) {
    const name = Buffer.from(key, "latin1");
    if (each.kind === "directory") {
      entries.push({ name: Buffer.concat([name, Buffer.from("/")]), type: "directory", ...each.attributes });
    } else if (each.kind === "symlink") {
      entries.push({ name, type: "symlink", ...each.attributes, mode: 0o777, linkName: each.linkName });
    } else if (each.kind === "file") {
      const { names, attributes, size, offset } = each.content;
      const { file } = linkGroup(names);
      if (file.equals(name)) entries.push({ name, type: "file", ...attributes, size, offset });
      else entries.push({ name, type: "hardlink", ...attributes, linkName: file });
    }
  }
  return entries;
}

/** Without `./` or `/` at the front and `/` at the end; empty for the root itself. */
function cleanName(raw: Uint8Array): Buffer {
  const parts = Buffer.from(raw).toString("latin1").split("/");
  if (parts.includes(".."))
    throw invalidArchive(`${shownName(Buffer.from(raw).toString())} points outside of the archive`);
  return Buffer.from(parts.filter((part) => part !== "" && part !== ".").join("/"), "latin1");
}

async function* plain(source: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const { head, stream } = await peek(source, 6);
  const compression = sniffCompression(head);
  if (compression === "xz" || compression === "bzip2") {
    throw new LadingError("unsupported", `the tar is compressed with ${compression}, which Lading does not read`, {
      hint: `unpack it first: ${compression} -dc FILE | lading import - NAME`,
    });
  }
  yield* decompress(stream, compression, { signal });
}

/** Contents one after the other in a temporary file. */
class Spool {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #directory: string;
  #unlinked: boolean;
  #end = 0;

  private constructor(handle: FileHandle, path: string, unlinked: boolean) {
    this.#handle = handle;
    this.#path = path;
    this.#directory = dirname(path);
    this.#unlinked = unlinked;
  }

  static async create(directory: string): Promise<Spool> {
    // What a killed process leaves under such a name, the store sweeps away.
    const path = join(directory, `ingest.${randomBytes(8).toString("hex")}`);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const handle = await open(path, "wx+", 0o600);
      // Without a name it goes with the process, even one that is killed. Windows does not allow that.
      const unlinked = await unlink(path).then(
        () => true,
        () => false,
      );
      return new Spool(handle, path, unlinked);
    } catch (error) {
      throw ioError(error, `making a temporary file in ${directory}`);
    }
  }

  /**
   * @param size Bytes that the archive says the content has.
   * @returns Where the content starts.
   * @throws LadingError `no-space` before anything is written where the disk has no room for it: nobody else shall stand before a full one
   */
  async write(body: AsyncIterable<Uint8Array>, size: number): Promise<number> {
    const start = this.#end;
    if (size > checkedSize) await this.#requireSpace(size);
    for await (const chunk of body) {
      for (let at = 0; at < chunk.byteLength; ) {
        const { bytesWritten } = await this.#handle
          .write(chunk, at, chunk.byteLength - at, this.#end)
          .catch((error: unknown) => {
            throw ioError(error, "writing a temporary file");
          });
        at += bytesWritten;
        this.#end += bytesWritten;
      }
    }
    return start;
  }

  async #requireSpace(size: number): Promise<void> {
    const { bavail, bsize } = await statfs(this.#directory);
    const free = bavail * bsize;
    if (size + limits.diskReserve <= free) return;
    throw new LadingError(
      "no-space",
      `the archive has a file of ${size} bytes, and ${this.#directory} has ${free} free`,
      {
        side: "destination",
        hint: "free disk space, or choose another folder with --store",
      },
    );
  }

  async *read({ offset, size }: RootFile, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; ) {
      throwIfAborted(signal);
      const wanted = Buffer.allocUnsafe(Math.min(chunkSize, size - at));
      const { bytesRead } = await this.#handle.read(wanted, 0, wanted.byteLength, offset + at);
      if (bytesRead === 0) throw new LadingError("io", "a temporary file lost its content");
      at += bytesRead;
      yield wanted.subarray(0, bytesRead);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
    if (!this.#unlinked) {
      this.#unlinked = true;
      await unlink(this.#path).catch(() => {});
    }
  }
}
