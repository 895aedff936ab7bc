/** The first bytes of a stream, and the whole stream with them. */
export interface Peeked {
  /** At least as many as were asked for, where the stream has them; there until the stream is read. */
  readonly head: Uint8Array;
  readonly stream: AsyncIterable<Uint8Array>;
}

/** Looks at the beginning of a stream without taking it away. The stream has to be read, or left, by its reader. */
export async function peek(source: AsyncIterable<Uint8Array>, size: number): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let seen = 0;
  let ended = false;
  while (seen < size && !ended) {
    const next = await iterator.next();
    if (next.done === true) ended = true;
    else {
      seen += next.value.byteLength;
      // A chunk is good until the next is asked for.
      chunks.push(seen < size ? Buffer.from(next.value) : next.value);
    }
  }
  const stream = (async function* () {
    try {
      yield* chunks;
      while (!ended) {
        const next = await iterator.next();
        if (next.done === true) ended = true;
        else yield next.value;
      }
    } finally {
      if (!ended) await iterator.return?.();
    }
  })();
  const [first] = chunks;
  return { head: chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks), stream };
}
