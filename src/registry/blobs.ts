import type { ReadOptions } from "../content/store.js";
import { verifyStream } from "../content/verify.js";
import { abortError, LadingError } from "../errors.js";
import type { Descriptor } from "../oci/descriptor.js";
import type { Digest } from "../oci/digest.js";
import type { Answer } from "./call.js";
import type { Endpoint } from "./endpoint.js";
import { isTransient, retryPolicy } from "./retry.js";

/** From so many bytes on a connection of its own costs less than it saves. */
const bulkSize = 8 * 1024 * 1024;

interface SignalOption {
  readonly signal?: AbortSignal | undefined;
}

/** Whether the repository has a blob, with the size that the descriptor says. */
export async function hasBlob(
  endpoint: Endpoint,
  { digest, size }: Descriptor,
  options: SignalOption = {},
): Promise<boolean> {
  const answer = await endpoint.sendOnly({
    method: "HEAD",
    url: endpoint.url(`blobs/${digest}`),
    actions: endpoint.readActions,
    expect: [200, 404],
    doing: `looking for ${digest} in ${endpoint.name}`,
    digest,
    signal: options.signal,
  });
  const length = answer.headers["content-length"];
  return answer.status === 200 && (length === undefined || Number(length) === size);
}

export async function deleteBlob(endpoint: Endpoint, digest: Digest, options: SignalOption = {}): Promise<void> {
  await endpoint.sendOnly({
    method: "DELETE",
    url: endpoint.url(`blobs/${digest}`),
    actions: ["delete", "pull", "push"],
    expect: [200, 202, 204],
    doing: `deleting ${digest} in ${endpoint.name}`,
    digest,
    signal: options.signal,
  });
}

/**
 * A blob's bytes. A connection that breaks is opened again where it stopped; from offset 0 the whole is verified
 * at its end.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs
 * @throws LadingError `not-found`, `digest-mismatch`, `size-mismatch`, `unreachable`, …
 */
export async function* readBlob(
  endpoint: Endpoint,
  descriptor: Descriptor,
  options: ReadOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { offset = 0, verify = true } = options;
  try {
    const content = reopening(endpoint, descriptor, offset, options);
    yield* verify && offset === 0 ? verifyStream(content, descriptor) : content;
  } catch (error) {
    throw endpoint.sided(error, descriptor.digest);
  }
}

async function* reopening(
  endpoint: Endpoint,
  descriptor: Descriptor,
  offset: number,
  { signal, onRetry }: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { digest, size } = descriptor;
  let position = offset;
  let tries = 0;
  let reachedBefore = position;
  let byRange = true;
  for (;;) {
    if (position === size && position > 0) return;
    const part = await openPart(endpoint, descriptor, position, byRange, signal);
    byRange = part.byRange;
    let cut: Error | null = null;
    try {
      for await (const chunk of part.bytes) {
        position += chunk.length;
        if (position > size) {
          throw new LadingError("size-mismatch", `${digest} is longer than its ${size} bytes`, { digest });
        }
        yield chunk;
      }
    } catch (error) {
      if (!(error instanceof Error && isTransient(error))) throw error;
      cut = error;
    }
    if (position === size) return;
    if (signal?.aborted) throw abortError(signal);

    // However short the parts in which it comes.
    if (position - reachedBefore >= retryPolicy.progress) {
      tries = 0;
      reachedBefore = position;
    }
    tries += 1;
    const reason =
      cut ?? new LadingError("size-mismatch", `${digest} ended after ${position} of its ${size} bytes`, { digest });
    if (tries >= retryPolicy.tries) throw cut === null ? reason : neverWhole(descriptor, position, cut);
    onRetry?.(reason);
    await endpoint.clock.sleep(retryPolicy.reopen * (1 + endpoint.random()), signal);
  }
}

/** The error for a download that breaks off again and again. */
function neverWhole({ digest, size }: Descriptor, position: number, cut: Error): LadingError {
  return new LadingError(
    "unreachable",
    `${digest} breaks off again and again, now after ${position} of its ${size} bytes: ${cut.message}`,
    {
      digest,
      hint: "run it again later: it goes on with what has arrived; a proxy or a weak network on the way does this too",
      cause: cut,
    },
  );
}

interface Part {
  /** The content from the position that was asked for. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Whether the registry can be asked for a range again. */
  readonly byRange: boolean;
}

/** Opens a blob at a position: by Range, and by skipping what is there already where the registry knows no Range. */
async function openPart(
  endpoint: Endpoint,
  descriptor: Descriptor,
  position: number,
  byRange: boolean,
  signal: AbortSignal | undefined,
): Promise<Part> {
  const ranged = byRange && position > 0 && position < descriptor.size;
  const answer = await getBlob(endpoint, descriptor, ranged ? position : null, signal);
  if (answer.status === 206 && isRestOf(answer, position, descriptor.size))
    return { bytes: answer.body, byRange: true };
  if (answer.status === 200) {
    const length = answer.headers["content-length"];
    if (length !== undefined && Number(length) !== descriptor.size) {
      await answer.body[Symbol.asyncIterator]().return?.();
      throw new LadingError("size-mismatch", `${descriptor.digest} has ${length} bytes instead of ${descriptor.size}`);
    }
    return { bytes: position === 0 ? answer.body : skip(answer.body, position), byRange };
  }
  await answer.body[Symbol.asyncIterator]().return?.();
  if (!ranged)
    throw new LadingError("unsupported", `${endpoint.authority} answers ${answer.status} to a whole download`);
  // 416, or a part that was not asked for: once more without a range.
  return await openPart(endpoint, descriptor, position, false, signal);
}

async function getBlob(
  endpoint: Endpoint,
  { digest, size }: Descriptor,
  from: number | null,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  const answer = await endpoint.send({
    method: "GET",
    url: endpoint.url(`blobs/${digest}`),
    actions: endpoint.readActions,
    headers: from === null ? {} : { range: `bytes=${from}-` },
    expect: [200, 206, 416],
    doing: `reading ${digest} of ${endpoint.name}`,
    digest,
    bulk: size - (from ?? 0) >= bulkSize,
    signal,
  });
  await endpoint.refuseEncoding(answer);
  return answer;
}

/** Whether a `Content-Range` is exactly what is missing; two headers of the name make a text that is not. */
function isRestOf(answer: Answer, position: number, size: number): boolean {
  return answer.headers["content-range"] === `bytes ${position}-${size - 1}/${size}`;
}

async function* skip(source: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  let left = bytes;
  for await (const chunk of source) {
    if (left < chunk.length) yield chunk.subarray(left);
    left = Math.max(0, left - chunk.length);
  }
}
