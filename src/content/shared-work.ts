import { abortError } from "../errors.js";

interface Shared<T, Event> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  readonly listeners: Set<(event: Event) => void>;
  last: Event | undefined;
}

/**
 * Work that several callers want at the same time is done once: each hears its events and gets its result.
 * It is cancelled when the last caller has gone, so that cancelling one never fails another.
 */
export class SharedWork<T, Event> {
  readonly #running = new Map<string, Shared<T, Event>>();

  async run(
    key: string,
    start: (signal: AbortSignal, emit: (event: Event) => void) => Promise<T>,
    options: {
      readonly signal?: AbortSignal | undefined;
      readonly onEvent?: ((event: Event) => void) | undefined;
    } = {},
  ): Promise<{ readonly value: T; readonly joined: boolean }> {
    const { signal, onEvent } = options;
    if (signal?.aborted) throw abortError(signal);
    const existing = this.#running.get(key);
    const shared = existing ?? this.#begin(key, start);
    const listener = onEvent ?? (() => undefined);
    // A listener per caller, also where two callers pass the same function.
    const own = (event: Event) => listener(event);
    shared.listeners.add(own);
    if (existing !== undefined && shared.last !== undefined) own(shared.last);
    let onAbort: (() => void) | undefined;
    try {
      if (signal === undefined) return { value: await shared.result, joined: existing !== undefined };
      const left = new Promise<never>((_resolve, reject) => {
        onAbort = () => {
          shared.listeners.delete(own);
          if (shared.listeners.size > 0) {
            reject(abortError(signal));
            return;
          }
          // Nobody is left: end the work, and wait until it has let go of its files and sockets.
          if (this.#running.get(key) === shared) this.#running.delete(key);
          shared.controller.abort(signal.reason);
          shared.result.then(
            () => reject(abortError(signal)),
            () => reject(abortError(signal)),
          );
        };
        signal.addEventListener("abort", onAbort, { once: true });
      });
      return { value: await Promise.race([shared.result, left]), joined: existing !== undefined };
    } finally {
      if (onAbort !== undefined) signal?.removeEventListener("abort", onAbort);
      shared.listeners.delete(own);
    }
  }

  #begin(key: string, start: (signal: AbortSignal, emit: (event: Event) => void) => Promise<T>): Shared<T, Event> {
    const controller = new AbortController();
    const listeners = new Set<(event: Event) => void>();
    const emit = (event: Event) => {
      shared.last = event;
      for (const listener of listeners) listener(event);
    };
    // Started in a later turn, so that the first caller listens before the first event.
    const result = Promise.resolve()
      .then(() => start(controller.signal, emit))
      .finally(() => {
        if (this.#running.get(key) === shared) this.#running.delete(key);
      });
    const shared: Shared<T, Event> = { result, controller, listeners, last: undefined };
    result.catch(() => undefined);
    this.#running.set(key, shared);
    return shared;
  }
}
