/**
 * Cuts a stream into blocks of exactly `size` bytes; the last one may be shorter, and is never empty. The reader owns a block
 * until it puts it among the `free` ones, which are filled again.
 */
export async function* blocksOf(
  source: AsyncIterable<Uint8Array>,
  size: number,
  free: Uint8Array<ArrayBuffer>[],
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  let block = new Uint8Array(0);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.byteLength; ) {
      if (filled === 0) block = free.pop() ?? new Uint8Array(size);
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
