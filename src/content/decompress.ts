import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { abortError, isLadingError, LadingError, throwIfAborted } from "../errors.js";
import { limits } from "../oci/limits.js";
import { giveBack } from "./lent-chunk.js";
import { createZstdCutter } from "./zstd-cutter.js";

export type Compression = "none" | "gzip" | "zstd";

export interface DecompressOptions {
  /**
   * Bytes of output after which the stream is refused: what comes from outside may unpack to anything.
   * @default 1 TiB (`limits.unpacked`)
   */
  readonly limit?: number | undefined;
  /**
   * Bytes of output for each byte of input after which the stream is refused, once there is a gigabyte (`limits.unpackedAtLeast`).
   * @default 250 (`limits.unpackedRatio`)
   */
  readonly ratio?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes per piece of output: half of it costs a tenth of the speed, the default of 16 KiB half. */
const chunkSize = 512 * 1024;

/** How a stream is compressed, by its first bytes (6 are enough). xz and bzip2 are told so that they can be refused by name. */
export function sniffCompression(bytes: Uint8Array): Compression | "xz" | "bzip2" {
  const starts = (...magic: number[]) => magic.every((byte, index) => bytes[index] === byte);
  if (starts(0x1f, 0x8b)) return "gzip";
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return "zstd";
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return "xz";
  return starts(0x42, 0x5a, 0x68) ? "bzip2" : "none";
}

/**
 * Unpacks a stream: gzip of any number of members, zstd of any number of frames. Counts what comes out, not what the stream claims.
 * Zeros after the last gzip member are padding, anything else is damage.
 * @throws LadingError `archive-invalid` where the stream is damaged or cut, `limit-exceeded`, `cancelled`; what the source throws
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { limit = limits.unpacked, ratio = limits.unpackedRatio, signal } = options;
  let packed = 0;
  let size = 0;
  const counted = counting(source, (bytes) => {
    packed += bytes;
  });
  for await (const chunk of unpack(compression === "none" ? source : counted, compression, signal)) {
    throwIfAborted(signal);
    size += chunk.byteLength;
    if (size > limit) {
      throw new LadingError("limit-exceeded", `the ${compression} stream unpacks to more than ${limit} bytes`, {
        limit: "unpacked",
      });
    }
    if (compression !== "none" && size > limits.unpackedAtLeast && size > packed * ratio) {
      throw new LadingError(
        "limit-exceeded",
        `the ${compression} stream unpacks to more than ${ratio} times its size`,
        { limit: "unpackedRatio" },
      );
    }
    if (chunk.byteLength > 0) yield chunk;
  }
}

function unpack(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  signal: AbortSignal | undefined,
): AsyncIterable<Uint8Array> {
  if (compression === "none") return source;
  if (compression === "gzip") return through(copied(source), createGunzip({ chunkSize }), signal);
  return zstd(copied(source));
}

async function* counting(
  source: AsyncIterable<Uint8Array>,
  see: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    see(chunk.byteLength);
    yield chunk;
  }
}

/** Both libraries hold input back for later, when the source has filled its memory again. */
async function* copied(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    const copy = new Uint8Array(chunk);
    giveBack(chunk);
    yield copy;
  }
}

async function* through(
  source: AsyncIterable<Uint8Array>,
  transform: Transform,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  // The pipeline owns both ends: it ends the source when the reader leaves, and its failure is the transform's.
  const flowing = pipeline(Readable.from(source), transform, signal === undefined ? {} : { signal });
  // Whatever ends it is an error of the transform too, and is thrown from there.
  const settled = flowing.catch(() => {});
  try {
    // Its end is the end, even where zeros follow that the transform did not take any more.
    yield* transform;
  } catch (error) {
    if (signal?.aborted) throw abortError(signal);
    throw isZlibError(error) ? damaged("gzip", error) : error;
  } finally {
    transform.destroy();
    await settled;
  }
}

function isZlibError(error: unknown): error is Error {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === "string" && /^(Z_|ERR_ZLIB)/.test(code);
}

function damaged(format: Compression, cause: unknown): LadingError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LadingError("archive-invalid", `the ${format} stream is damaged or cut short: ${reason}`, {
    hint: "fetch or make the file again",
    cause,
  });
}

/**
 * In JavaScript on every Node: the zstd of node:zlib stops at the first frame (layers that can be read in parts have many), and takes a
 * stream that was cut for a whole one (22.23). The checksum inside is not checked: digest or diff ID are, wherever content comes from
 * outside.
 */
async function* zstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const { Decompress } = await import("fzstd");
  let ready: Uint8Array[] = [];
  const stream = new Decompress((chunk) => ready.push(chunk));
  const push = (chunk: Uint8Array, final: boolean): Uint8Array[] => {
    ready = [];
    try {
      stream.push(chunk, final);
    } catch (cause) {
      throw isLadingError(cause) ? cause : damaged("zstd", cause);
    }
    return ready;
  };
  const cut = createZstdCutter();
  const piecesOf = (chunk: Uint8Array) => {
    try {
      return cut(chunk);
    } catch (cause) {
      throw isLadingError(cause) ? cause : damaged("zstd", cause);
    }
  };
  let empty = true;
  for await (const chunk of source) {
    for (const piece of piecesOf(chunk)) {
      empty = false;
      yield* push(piece, false);
    }
  }
  if (empty) throw damaged("zstd", new Error("it is empty"));
  yield* push(new Uint8Array(0), true);
}
