import { abortError, LadingError } from "../errors.js";
import type { WireHandler } from "../oci/wire.js";
import type { Call, Send } from "./call.js";

/**
 * Dispatch to a registry of this process: no port, no socket, the same requests.
 * `closed` fires when the client is closed.
 */
export function inProcessDispatch(handler: WireHandler, closed: AbortSignal): Send {
  return async (call) => {
    if (closed.aborted) throw closedError();
    const signal = call.signal === undefined ? closed : AbortSignal.any([call.signal, closed]);
    const failure = (error: unknown) => {
      if (call.signal?.aborted) return abortError(call.signal);
      return closed.aborted ? closedError() : error;
    };
    try {
      const answer = await untilAborted(
        handler({
          method: call.method,
          url: `${call.url.pathname}${call.url.search}`,
          headers: { host: call.url.host, ...call.headers },
          body: openBody(call),
          signal,
        }),
        signal,
      );
      return { ...answer, url: call.url, body: interruptible(answer.body, signal, failure) };
    } catch (error) {
      throw failure(error);
    }
  };
}

export function closedError(): LadingError {
  return new LadingError("closed", "the client is closed");
}

function openBody(call: Call): AsyncIterable<Uint8Array> | Uint8Array | null {
  return typeof call.body === "function" ? call.body() : (call.body ?? null);
}

/** A body that ends with an error when the signal fires, whatever its source does. */
function interruptible(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  failure: (error: unknown) => unknown,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = source[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            return await untilAborted(inner.next(), signal);
          } catch (error) {
            // Not awaited: a generator that hangs in next() answers return() only after that.
            inner.return?.().catch(() => {});
            throw failure(error);
          }
        },
        async return() {
          await inner.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/** A promise that is no longer waited for once the signal fires; the work behind it is left to end by itself. */
async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(abortError(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
