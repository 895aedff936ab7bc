import { closeSync, constants, createReadStream, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { join, posix } from "node:path";
import { createGunzip } from "node:zlib";
import { ChunkMemory } from "../content/lent-chunk.js";
import { throwIfAborted } from "../errors.js";
import { isJsonObject } from "./json-lines.js";

/** Where an engine keeps one layer: its files, and beside them the bytes of its tar that are no file's content. */
export interface LayerFolder {
  /** The folder with the layer's own files. */
  readonly files: string;
  /** A `tar-split.json.gz`. */
  readonly tarSplit: string;
}

const chunkSize = 1024 * 1024;
/** One line holds what stands between two files: headers, padding, names that are longer than a header has room for. */
const maxLine = 32 * 1024 * 1024;
const segment = 2;
const file = 1;
/** A name of a layer may stand for anything on this machine once it is a path: links and devices are not followed. */
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * The tar that a layer was unpacked from, byte for byte, out of the files and the record that Docker (`overlay2`) and Podman
 * (`overlay`) keep for their own exports. Whoever reads it compares the hash with the diff ID: nothing here is taken on trust.
 * Files are read at once and not by turns, since most are small: a promise each would cost more than the reading.
 * @see https://github.com/vbatts/tar-split/blob/v0.11.5/tar/storage/doc.go
 * @throws Error where the record or a file is not what it should be; LadingError `cancelled`
 */
export async function* assembleTar(
  { files, tarSplit }: LayerFolder,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const memory = new ChunkMemory(chunkSize);
  const folder = new FileFolder(files);
  let chunk = memory.take();
  let length = 0;
  for await (const entry of entriesOf(tarSplit)) {
    throwIfAborted(signal);
    if (entry.payload !== null) {
      for (let at = 0; at < entry.payload.length; ) {
        const taken = entry.payload.copy(chunk, length, at);
        at += taken;
        length += taken;
        if (length < chunkSize) continue;
        yield memory.lend(chunk, length);
        chunk = memory.take();
        length = 0;
      }
      continue;
    }
    const descriptor = folder.open(entry.name);
    try {
      for (let left = entry.size; left > 0; ) {
        const taken = readSync(descriptor, chunk, length, Math.min(left, chunkSize - length), null);
        if (taken === 0) throw new Error(`${entry.name} of a layer is shorter than it was`);
        left -= taken;
        length += taken;
        if (length < chunkSize) continue;
        yield memory.lend(chunk, length);
        throwIfAborted(signal);
        chunk = memory.take();
        length = 0;
      }
    } finally {
      closeSync(descriptor);
    }
  }
  if (length > 0) yield memory.lend(chunk, length);
}

/** The files of a layer by the names that its tar has. */
class FileFolder {
  readonly #root: string;
  /** Folders that are where their names say. */
  readonly #real = new Set<string>();

  constructor(root: string) {
    this.#root = realpathSync(root);
  }

  open(name: string): number {
    const clean = posix.normalize(name);
    if (clean.startsWith("/") || clean === ".." || clean.startsWith("../")) throw new Error(`${name} leaves its layer`);
    const parent = join(this.#root, posix.dirname(clean));
    if (!this.#real.has(parent)) {
      if (realpathSync.native(parent) !== parent) throw new Error(`${name} of a layer lies behind a link`);
      this.#real.add(parent);
    }
    const descriptor = openSync(join(this.#root, clean), openFlags);
    if (fstatSync(descriptor).isFile()) return descriptor;
    closeSync(descriptor);
    throw new Error(`${name} of a layer is no file any more`);
  }
}

type SplitEntry =
  | { readonly payload: Buffer }
  | { readonly payload: null; readonly name: string; readonly size: number };

async function* entriesOf(tarSplit: string): AsyncGenerator<SplitEntry> {
  for await (const line of linesOf(tarSplit)) {
    const entry: unknown = JSON.parse(line);
    if (!isJsonObject(entry)) throw new Error("a line of a tar-split is no object");
    const { type, name, name_raw, size = 0, payload } = entry;
    if (type === segment) {
      if (typeof payload === "string") yield { payload: Buffer.from(payload, "base64") };
    } else if (type === file) {
      // Everything but a file with content is all header.
      if (size === 0) continue;
      const usable = typeof name === "string" && name !== "" && name_raw === undefined && Number.isSafeInteger(size);
      if (!usable || typeof size !== "number" || size < 0)
        throw new Error("a tar-split names a file in an unknown way");
      yield { payload: null, name, size };
    } else {
      throw new Error(`a tar-split has an entry of type ${String(type)}`);
    }
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const source = createReadStream(path, { highWaterMark: 256 * 1024 });
  const gunzip = createGunzip({ chunkSize: 256 * 1024 });
  source.once("error", (error) => gunzip.destroy(error));
  let rest = "";
  try {
    for await (const text of source.pipe(gunzip).setEncoding("utf8") as AsyncIterable<string>) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > maxLine) throw new Error("a line of a tar-split is too long");
      for (const line of lines) if (line !== "") yield line;
    }
    if (rest !== "") yield rest;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}
