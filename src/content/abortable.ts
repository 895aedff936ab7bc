import { abortError, throwIfAborted } from "../errors.js";

/**
 * What a promise gives, waited for no longer than `patience` ms after the signal has fired: what the caller's own functions
 * do can't be ended, only left.
 * @throws LadingError `cancelled`, `timeout`
 */
export async function unlessAborted<Value>(
  work: Promise<Value>,
  signal: AbortSignal | undefined,
  patience = 0,
): Promise<Value> {
  if (signal === undefined) return await work;
  let timer: NodeJS.Timeout | undefined;
  let onAbort = () => {};
  const left = new Promise<never>((_resolve, reject) => {
    const leave = () => reject(abortError(signal));
    onAbort = () => {
      if (patience === 0) leave();
      else timer = setTimeout(leave, patience);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, left]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    clearTimeout(timer);
  }
}

/**
 * The same stream, which ends at once when the signal fires, even where the source does not listen to it. Whatever
 * the source throws after that is the signal's doing.
 * @throws LadingError `cancelled`, `timeout`
 */
export async function* abortable<Item>(
  source: AsyncIterable<Item>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item, void, undefined> {
  if (signal === undefined) {
    yield* source;
    return;
  }
  throwIfAborted(signal);
  const iterator = source[Symbol.asyncIterator]();
  let interrupt = () => {};
  const onAbort = () => interrupt();
  signal.addEventListener("abort", onAbort);
  let ended = false;
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<Item>>((resolve, reject) => {
        interrupt = () => reject(abortError(signal));
        if (signal.aborted) interrupt();
        else iterator.next().then(resolve, reject);
      });
      if (next.done === true) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    if (!ended) {
      const closed = Promise.resolve(iterator.return?.()).catch(() => {});
      // A source that does not listen would keep its reader waiting here.
      if (!signal.aborted) await closed;
    }
  }
}
