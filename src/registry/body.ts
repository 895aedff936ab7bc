import { LadingError } from "../errors.js";
import { type Bound, boundOf } from "../oci/bound.js";
import { limits } from "../oci/limits.js";
import type { WireResponse } from "../oci/wire.js";

/** A body of nothing. */
export const emptyBody: AsyncIterable<Uint8Array> = {
  [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true, value: undefined }) }),
};

/** A body that has been read already, to be read again. */
export function bodyOf(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  return {
    async *[Symbol.asyncIterator]() {
      if (bytes.length > 0) yield bytes;
    },
  };
}

/**
 * A small body whole. Bytes are counted as they arrive: a `Content-Length` is only a promise.
 * @throws LadingError `limit-exceeded`
 */
export async function readBody(response: WireResponse, bound: Bound, what: string): Promise<Uint8Array> {
  const { most, limit } = boundOf(bound);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > most) throw new LadingError("limit-exceeded", `${what} is larger than ${most} bytes`, { limit });
    chunks.push(chunk);
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size);
}

/** The beginning of a body that is only read for its message, and whether that was all. Never throws. */
export async function readStart(response: WireResponse, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= limit) break;
    }
  } catch {
    // What was cut off would only have been shown to people.
  }
  return Buffer.concat(chunks).subarray(0, limit);
}

/** Lets go of an answer that nobody reads: a short body is drained so that its connection can be used again. */
export async function discard(response: WireResponse): Promise<void> {
  await readStart(response, limits.errorBody);
}
