import { isLadingError, LadingError } from "../errors.js";
import { type Bound, boundOf } from "../oci/bound.js";
import type { Descriptor } from "../oci/descriptor.js";
import { createHasher, digestAlgorithm } from "../oci/digest.js";
import type { ContentSource } from "./store.js";

/** Counts and hashes content as it passes. */
export interface Verifier {
  /** Bytes seen. */
  readonly seen: number;
  /** @throws LadingError `size-mismatch` at the first byte beyond the descriptor's size */
  update(chunk: Uint8Array): void;
  /**
   * To be called once, at the end of the content.
   * @throws LadingError `size-mismatch` where bytes are missing, `digest-mismatch`
   */
  finish(): void;
}

/** The check of one piece of content against its descriptor, for a reader that is no async iterable. */
export function createVerifier(descriptor: Descriptor): Verifier {
  const { digest, size } = descriptor;
  const hasher = createHasher(digestAlgorithm(digest));
  let seen = 0;
  return {
    get seen() {
      return seen;
    },
    update(chunk) {
      seen += chunk.byteLength;
      if (seen > size) throw tooLong(descriptor);
      hasher.update(chunk);
    },
    finish() {
      if (seen < size) throw tooShort(descriptor, seen);
      const found = hasher.digest();
      if (found !== digest) throw mismatched(descriptor, found);
    },
  };
}

export const tooLong = ({ digest, size }: Descriptor) =>
  new LadingError("size-mismatch", `${digest} is longer than its ${size} bytes`, { digest });

export const tooShort = ({ digest, size }: Descriptor, seen: number) =>
  new LadingError("size-mismatch", `${digest} ended after ${seen} of its ${size} bytes`, { digest });

export const mismatched = ({ digest }: Descriptor, found: string) =>
  new LadingError("digest-mismatch", `content that should be ${digest} is ${found}`, { digest });

/**
 * Passes content on, chunk by chunk, and fails at the end of the stream where it is not what the descriptor says.
 * A chunk that goes beyond the size is never passed on. The digest's own algorithm is used.
 * @see https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#verification
 * @throws LadingError `digest-mismatch`, `size-mismatch`
 */
export async function* verifyStream(
  source: AsyncIterable<Uint8Array>,
  descriptor: Descriptor,
): AsyncGenerator<Uint8Array, void, undefined> {
  const verifier = createVerifier(descriptor);
  for await (const chunk of source) {
    verifier.update(chunk);
    yield chunk;
  }
  verifier.finish();
}

/**
 * A whole stream in memory, for small things alone.
 * @param bound Bytes, or the name of a limit; the stream is left at the first chunk that goes beyond.
 * @param what What is read, for the message.
 * @throws LadingError `limit-exceeded`
 */
export async function readAll(source: AsyncIterable<Uint8Array>, bound: Bound, what = "content"): Promise<Uint8Array> {
  const { most, limit } = boundOf(bound);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > most) throw new LadingError("limit-exceeded", `${what} is longer than ${most} bytes`, { limit });
    // A chunk is good until the next is asked for.
    chunks.push(new Uint8Array(chunk));
  }
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

export interface ReadVerifiedOptions {
  /** Bytes, or the name of a limit. */
  readonly limit: Bound;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Small content in memory, checked against its descriptor whatever the source promises. What arrives damaged is read once more.
 * @throws LadingError `limit-exceeded` before anything is read, `not-found`, `digest-mismatch`, `size-mismatch`
 */
export async function readVerified(
  source: ContentSource,
  descriptor: Descriptor,
  { limit: bound, signal }: ReadVerifiedOptions,
): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  const { most, limit } = boundOf(bound);
  if (size > most) {
    const message = `${digest} has ${size} bytes, at most ${most} are read`;
    throw new LadingError("limit-exceeded", message, { digest, limit });
  }
  const read = () => readAll(verifyStream(source.get(descriptor, { signal }), descriptor), bound, digest);
  try {
    return await read();
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return await read().catch((again: unknown) => {
      // What a store has put aside by now is damaged, and not missing.
      throw isLadingError(again) && again.code === "not-found" ? error : again;
    });
  }
}

/** Other bytes arrived than were meant. */
function isDamaged(error: unknown): error is LadingError {
  return isLadingError(error) && error.code === "digest-mismatch";
}
