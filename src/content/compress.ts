import { crc32 } from "node:zlib";
import { throwIfAborted } from "../errors.js";
import { type Block, type BlockMemory, blockSize, blocksOf, inputOf, outputOf } from "./blocks.js";
import { deflateLevel } from "./deflate-block.js";
import { type DeflatePool, sharedDeflatePool } from "./deflate-pool.js";
import { lend } from "./lent-chunk.js";

/**
 * Names everything on which compressed bytes depend, for the keys of caches: the library and its exact version, its level, and the
 * size of the blocks. It changes whenever the golden vectors change, and only then.
 */
export const compressorId = `zlib-streams-1.0.4/${deflateLevel}/1MiB`;

export interface GzipOptions {
  /** Bytes of the source that were taken so far. */
  readonly onBytes?: ((taken: number) => void) | undefined;
  /** Bytes of the source, where that is known: of a small one no threads are started. It counts for nothing else. */
  readonly size?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Where blocks are compressed. @default the threads that the process shares */
  readonly pool?: DeflatePool | undefined;
}

/**
 * RFC 1952 header: deflate, no flags, no time, no extra flags, system unknown. Nothing in it tells when or where it was made.
 * @see https://www.rfc-editor.org/rfc/rfc1952#section-2.3
 */
const header = new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
/** An empty stored block with the final bit: ends the member after the last sync flush. */
const finalBlock = new Uint8Array([1, 0, 0, 0xff, 0xff]);

/**
 * Compresses a stream into one gzip member. The output depends on the bytes alone, never on how they were cut into chunks, on cores
 * or on the version of Node (whose zlib changes between builds): blocks of 1 MiB are compressed each for itself by one pinned
 * compressor, end at a byte border (a sync flush), and are joined in order. Blocks are compressed in parallel, a few at a time. Chunks
 * that are given back (`giveBack`) are filled again.
 * @throws LadingError `cancelled`, `timeout`; what the source throws
 */
export async function* gzipStream(
  source: AsyncIterable<Uint8Array>,
  options: GzipOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { onBytes, size: expected = Number.POSITIVE_INFINITY, signal, pool = sharedDeflatePool } = options;
  const few = expected <= fewBlocks * blockSize;
  const free: BlockMemory[] = [];
  const running: Running[] = [];
  const finish = async ({ block, made }: Running): Promise<Uint8Array> => {
    return lend(outputOf(block).subarray(0, await made), () => free.push(block.memory));
  };
  let checksum = 0;
  let size = 0;
  try {
    yield header;
    for await (const block of blocksOf(source, free)) {
      throwIfAborted(signal);
      checksum = crc32(inputOf(block), checksum);
      size += block.length;
      onBytes?.(size);
      running.push({ block, made: observed(pool.deflate(block, few)) });
      // One block more than threads keeps each of them busy while the oldest one is written out.
      while (running.length > pool.size) yield await finish(running.shift() as Running);
    }
    for (let next = running.shift(); next !== undefined; next = running.shift()) {
      throwIfAborted(signal);
      yield await finish(next);
    }
    yield finalBlock;
    yield trailer(checksum, size);
  } finally {
    // Blocks that nobody waits for any more: the threads finish them, and their results are dropped.
    await Promise.allSettled(running.map(({ made }) => made));
  }
}

/** Blocks up to which threads would take longer to start than they would save. */
const fewBlocks = 4;

/** A block that is being compressed. */
interface Running {
  readonly block: Block;
  readonly made: Promise<number>;
}

/** CRC-32 and the size modulo 2^32, both little-endian. */
function trailer(checksum: number, size: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setUint32(0, checksum, true);
  bytes.setUint32(4, size % 2 ** 32, true);
  return new Uint8Array(bytes.buffer);
}

/** Marks a promise as looked after, so that a block that fails while another is awaited is no unhandled rejection. */
function observed<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => {});
  return promise;
}
