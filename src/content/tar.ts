import { isLadingError, LadingError, throwIfAborted } from "../errors.js";
import { type Bound, boundOf } from "../oci/bound.js";
import { limits } from "../oci/limits.js";
import { giveBack } from "./lent-chunk.js";
import {
  applyOverrides,
  formatTarHeader,
  invalidArchive,
  padding,
  parsePax,
  parseTarBlock,
  type TarBlock,
  type TarEntryInput,
  type TarHeader,
  type TarOverrides,
  tarBlock,
} from "./tar-header.js";

/**
 * An entry that is being read. Its body is there until the next entry is asked for; what was not read of it is skipped. A chunk of a
 * body is there until the next chunk is asked for: whoever keeps it longer copies it.
 */
export interface TarEntry extends TarHeader {
  readonly body: AsyncIterable<Uint8Array>;
}

export interface ReadTarOptions {
  /** A number, or the name of a limit. @default "archiveEntries" */
  readonly maxEntries?: Bound | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An entry to be written. */
export interface TarInput extends TarEntryInput {
  /** Exactly `size` bytes. */
  readonly body?: AsyncIterable<Uint8Array> | Uint8Array;
}

/**
 * Reads a tar (ustar, PAX, GNU, and what was before) as a stream, without copying bodies. Nothing is unpacked: names are only data.
 * Strict, since a cut archive must not pass for a whole one: the end marker has to be there, and nothing but zeros after it.
 * (Our own rather than a library's: names stay bytes, headers are bounded, and bodies pass at the speed of the source.)
 * @throws LadingError `archive-invalid`, `limit-exceeded`, `cancelled`; what the source throws
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  options: ReadTarOptions = {},
): AsyncGenerator<TarEntry, void, undefined> {
  const { maxEntries = "archiveEntries", signal } = options;
  const { most, limit } = boundOf(maxEntries);
  const reader = new BlockReader(source, signal);
  let overrides: TarOverrides = {};
  try {
    let begun = false;
    for (let entries = 0; ; ) {
      const block = await reader.take(tarBlock);
      if (isZero(block)) return await readEnd(reader);
      const parsed = begun ? parseTarBlock(block) : firstBlock(block);
      begun = true;
      if (parsed.extension !== null) {
        overrides = { ...overrides, ...(await readExtension(reader, parsed)) };
        continue;
      }
      if (++entries > most) {
        throw new LadingError("limit-exceeded", `the archive has more than ${most} entries`, { limit });
      }
      const header = applyOverrides(parsed, overrides);
      overrides = {};
      reader.open(header.size);
      yield { ...header, body: reader.body() };
      await reader.skip(reader.left + padding(header.size));
    }
  } finally {
    await reader.close();
  }
}

const noTar = "check the path: it has to be a tar, as it is or compressed with gzip or zstd";

/** What is wrong with the first header is wrong with the whole: it is something else. */
function firstBlock(block: Buffer): TarBlock {
  try {
    return parseTarBlock(block);
  } catch (cause) {
    if (!isLadingError(cause) || cause.code !== "archive-invalid") throw cause;
    throw new LadingError("archive-invalid", `this is no tar archive: ${cause.message}`, { hint: noTar, cause });
  }
}

async function readExtension(reader: BlockReader, block: TarBlock): Promise<TarOverrides> {
  if (block.size > limits.archiveHeader) {
    throw new LadingError("limit-exceeded", `a header of the archive has more than ${limits.archiveHeader} bytes`, {
      limit: "archiveHeader",
    });
  }
  const body = await reader.take(block.size);
  await reader.skip(padding(block.size));
  if (block.extension === "pax") return parsePax(body);
  if (block.extension === "global") {
    // Comments, as git writes them. Programs differ in what a global name or size means: none is taken.
    const { path, linkPath, size } = parsePax(body);
    if (path ?? linkPath ?? size) throw invalidArchive("a global PAX header sets names or sizes");
    return {};
  }
  const end = body.indexOf(0);
  const name = end < 0 ? body : body.subarray(0, end);
  return block.extension === "long-name" ? { path: name } : { linkPath: name };
}

/** After the first zero block: a second one, or the end at once (some programs write only one), then zeros alone. */
async function readEnd(reader: BlockReader): Promise<void> {
  for (let seen = 0; ; ) {
    const chunk = await reader.chunk(Number.MAX_SAFE_INTEGER);
    if (chunk === null) return;
    if (!isZero(chunk)) throw invalidArchive("the archive goes on after its end");
    seen += chunk.byteLength;
    if (seen > limits.archiveTrailer) {
      throw new LadingError("limit-exceeded", "the archive's end marker does not end", { limit: "archiveTrailer" });
    }
  }
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}

/** Takes exact pieces from a stream of chunks of any size. */
class BlockReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  /** Where in the chunk the next part begins. */
  #at = 0;
  #ended = false;
  /** Bytes that were taken so far. */
  #position = 0;
  /** Which body is open: one that belongs to an earlier entry reads nothing any more. */
  #entry = 0;
  /** Bytes of the open body that were not read yet. */
  left = 0;

  constructor(source: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
    this.#iterator = source[Symbol.asyncIterator]();
    this.#signal = signal;
  }

  /** At most `max` bytes, as many as there are at hand; null at the end. */
  async chunk(max: number): Promise<Uint8Array | null> {
    while (this.#at === this.#chunk.byteLength) {
      throwIfAborted(this.#signal);
      if (this.#ended) return null;
      giveBack(this.#chunk);
      const next = await this.#iterator.next();
      if (next.done === true) this.#ended = true;
      this.#chunk = next.done === true ? new Uint8Array(0) : next.value;
      this.#at = 0;
    }
    const part = this.#chunk.subarray(this.#at, this.#at + max);
    this.#at += part.byteLength;
    return part;
  }

  /** A copy: headers outlive the chunk that they came in. */
  async take(size: number): Promise<Buffer> {
    const whole = Buffer.allocUnsafe(size);
    for (let taken = 0; taken < size; ) {
      const part = await this.#expect(size - taken);
      whole.set(part, taken);
      taken += part.byteLength;
    }
    return whole;
  }

  async skip(size: number): Promise<void> {
    for (let missing = size; missing > 0; ) missing -= (await this.#expect(missing)).byteLength;
  }

  open(size: number): void {
    this.#entry++;
    this.left = size;
  }

  body(): AsyncIterable<Uint8Array> {
    return this.#read(this.#entry);
  }

  async *#read(entry: number): AsyncGenerator<Uint8Array, void, undefined> {
    while (entry === this.#entry && this.left > 0) {
      const part = await this.#expect(this.left);
      this.left -= part.byteLength;
      yield part;
    }
  }

  async close(): Promise<void> {
    this.#entry++;
    this.left = 0;
    if (!this.#ended) await this.#iterator.return?.();
  }

  async #expect(max: number): Promise<Uint8Array> {
    const part = await this.chunk(max);
    if (part !== null) this.#position += part.byteLength;
    if (part === null && this.#position < tarBlock) {
      const what = this.#position === 0 ? "it is empty" : `it has ${this.#position} bytes`;
      throw new LadingError("archive-invalid", `this is no tar archive: ${what}`, { hint: noTar });
    }
    if (part === null) {
      throw new LadingError("archive-invalid", "the archive ends in the middle: it was cut short", {
        hint: "fetch or make the file again",
      });
    }
    return part;
  }
}

/**
 * Writes a tar. The same entries give the same bytes: owner, times and modes are those given, else fixed ones.
 * @throws LadingError `size-mismatch` where a body is not as long as its size says; what a body throws
 */
export async function* writeTar(
  entries: AsyncIterable<TarInput> | Iterable<TarInput>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const entry of entries) {
    yield formatTarHeader(entry);
    const { size = 0, body } = entry;
    let written = 0;
    for await (const chunk of body instanceof Uint8Array ? [body] : (body ?? [])) {
      written += chunk.byteLength;
      if (written > size) break;
      yield chunk;
    }
    if (written !== size) {
      const name = typeof entry.name === "string" ? entry.name : Buffer.from(entry.name).toString();
      throw new LadingError("size-mismatch", `${name} does not have the ${size} bytes that it had a moment ago`);
    }
    if (padding(size) > 0) yield Buffer.alloc(padding(size));
  }
  yield Buffer.alloc(2 * tarBlock);
}
