/** Bytes of a stream per block. Part of `compressorId`. */
export const blockSize = 1024 * 1024;
/** Bytes that a block may become where nothing can be compressed: 5 more for each 16 KiB, and some for the end. */
export const blockBound = blockSize + 16 * 1024;

/** Memory of one block that threads share, so that none of them copies it: what goes in, and behind it what came out. */
export type BlockMemory = Uint8Array<SharedArrayBuffer>;

/** A block that is filled: its bytes are the first `length` of its memory. */
export interface Block {
  readonly memory: BlockMemory;
  readonly length: number;
}

/** The bytes of a block. */
export function inputOf({ memory, length }: Block): BlockMemory {
  return memory.subarray(0, length);
}

/** Where the bytes that a block became are written. The block itself stays as it is, should the work have to be done again. */
export function outputOf({ memory }: Block): BlockMemory {
  return memory.subarray(blockSize);
}

/**
 * Cuts a stream into blocks of exactly {@link blockSize} bytes; the last one may be shorter, and is never empty. The reader owns
 * a block's memory until it puts it among the `free` ones, which are filled again.
 */
export async function* blocksOf(
  source: AsyncIterable<Uint8Array>,
  free: BlockMemory[],
): AsyncGenerator<Block, void, undefined> {
  let memory: BlockMemory | null = null;
  let length = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      memory ??= free.pop() ?? new Uint8Array(new SharedArrayBuffer(blockSize + blockBound));
      const part = chunk.subarray(at, at + blockSize - length);
      memory.set(part, length);
      length += part.byteLength;
      at += part.byteLength;
      if (length === blockSize) {
        const block = { memory, length };
        memory = null;
        length = 0;
        yield block;
      }
    }
  }
  if (memory !== null) yield { memory, length };
}
