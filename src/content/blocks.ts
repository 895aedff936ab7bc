/** A block in memory that threads share: none of them copies it. */
export type Block = Uint8Array<SharedArrayBuffer>;

/**
 * Cuts a stream into blocks of exactly `size` bytes; the last one may be shorter, and is never empty. The reader owns a block
 * until it puts it among the `free` ones, which are filled again.
 */
export async function* blocksOf(
  source: AsyncIterable<Uint8Array>,
  size: number,
  free: Block[],
): AsyncGenerator<Block, void, undefined> {
  let block: Block = new Uint8Array(new SharedArrayBuffer(0));
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      if (filled === 0) block = free.pop() ?? new Uint8Array(new SharedArrayBuffer(size));
      const part = chunk.subarray(at, at + size - filled);
      block.set(part, filled);
      filled += part.byteLength;
      at += part.byteLength;
      if (filled === size) {
        filled = 0;
        yield block;
      }
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}
