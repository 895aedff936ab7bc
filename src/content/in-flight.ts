import { abortError, throwIfAborted } from "../errors.js";

export interface FlightOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((stored: number) => void) | undefined;
}

/** Work under way on a piece of content, and who watches it. */
interface Flight {
  readonly settled: Promise<void>;
  readonly watchers: Set<(stored: number) => void>;
  stored: number;
}

/**
 * Does the same work once for all that ask for it at the same time. The first to come works, with its own source and
 * signal; the others wait and watch. Where the first fails or is cancelled, the next one works in its turn: the
 * failure of one is never that of another.
 */
export class InFlight<Key> {
  readonly #flights = new Map<Key, Flight>();

  /** True while somebody works on it. */
  has(key: Key): boolean {
    return this.#flights.has(key);
  }

  /**
   * @param work Does it, telling `report` the bytes stored so far.
   * @param done Asked after somebody else's work has ended: the result where nothing is left to do, else null.
   */
  async run<Result>(
    key: Key,
    { signal, onBytes }: FlightOptions,
    work: (report: (stored: number) => void) => Promise<Result>,
    done: () => Promise<Result | null>,
  ): Promise<Result> {
    for (;;) {
      throwIfAborted(signal);
      const other = this.#flights.get(key);
      if (other === undefined) return await this.#lead(key, onBytes, work);
      await watch(other, signal, onBytes);
      const result = await done();
      if (result !== null) return result;
    }
  }

  async #lead<Result>(
    key: Key,
    onBytes: ((stored: number) => void) | undefined,
    work: (report: (stored: number) => void) => Promise<Result>,
  ): Promise<Result> {
    let settle = () => {};
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const flight: Flight = { settled, watchers: new Set(), stored: 0 };
    this.#flights.set(key, flight);
    try {
      return await work((stored) => {
        flight.stored = stored;
        onBytes?.(stored);
        for (const watcher of flight.watchers) watcher(stored);
      });
    } finally {
      this.#flights.delete(key);
      settle();
    }
  }
}

/** Waits for the end of a flight, whatever it is. A watcher that throws is the watcher's failure, not the flight's. */
async function watch(
  flight: Flight,
  signal: AbortSignal | undefined,
  onBytes: ((stored: number) => void) | undefined,
): Promise<void> {
  let abort = () => {};
  let fail: (reason: unknown) => void = () => {};
  const interrupted = new Promise<never>((_resolve, reject) => {
    fail = reject;
    abort = () => reject(signal === undefined ? undefined : abortError(signal));
  });
  const watcher = (stored: number) => {
    try {
      onBytes?.(stored);
    } catch (error) {
      fail(error);
    }
  };
  signal?.addEventListener("abort", abort, { once: true });
  flight.watchers.add(watcher);
  try {
    watcher(flight.stored);
    await Promise.race([flight.settled, interrupted]);
  } finally {
    flight.watchers.delete(watcher);
    signal?.removeEventListener("abort", abort);
  }
}
