import { abortError, LadingError } from "../errors.js";
import type { WireHandler } from "../oci/wire.js";
import { AbortListeners } from "./abort-listeners.js";
import type { Send } from "./call.js";

/**
 * Dispatch to a registry of this process: no port, no socket, the same requests.
 * `closed` fires when the client is closed.
 */
export function inProcessDispatch(handler: WireHandler, closed: AbortSignal): Send {
  const listeners = new AbortListeners();
  return async (call) => {
    if (closed.aborted) throw closedError();
    const signals = call.signal === undefined ? [closed] : [closed, call.signal];
    const failure = (error: unknown) => {
      if (call.signal?.aborted) return abortError(call.signal);
      return closed.aborted ? closedError() : error;
    };
    const untilAborted = async <Value>(promise: Promise<Value>): Promise<Value> => {
      let leave: (() => void)[] = [];
      try {
        const aborted = new Promise<never>((_, reject) => {
          leave = signals.map((signal) => listeners.add(signal, () => reject(failure(null))));
        });
        return await Promise.race([promise, aborted]);
      } catch (error) {
        throw failure(error);
      } finally {
        for (const remove of leave) remove();
      }
    };
    const answer = await untilAborted(
      handler({
        method: call.method,
        url: `${call.url.pathname}${call.url.search}`,
        headers: { host: call.url.host, ...call.headers },
        body: typeof call.body === "function" ? call.body() : (call.body ?? null),
        signal: call.signal ?? closed,
      }),
    );
    return { ...answer, url: call.url, body: interruptible(answer.body, untilAborted) };
  };
}

export function closedError(): LadingError {
  return new LadingError("closed", "the client is closed");
}

/** A body that ends with an error when the signal fires, whatever its source does. */
function interruptible(
  source: AsyncIterable<Uint8Array>,
  untilAborted: <Value>(promise: Promise<Value>) => Promise<Value>,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = source[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            return await untilAborted(inner.next());
          } catch (error) {
            // Not awaited: a generator that hangs in next() answers return() only after that.
            inner.return?.().catch(() => {});
            throw error;
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
