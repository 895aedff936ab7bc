/**
 * Listens to each signal once, however many requests hang on it: Node warns of a leak at the eleventh listener,
 * and a transfer's signal has as many requests as it has blobs.
 */
export class AbortListeners {
  readonly #waiting = new WeakMap<AbortSignal, Set<() => void>>();

  /** Calls back once the signal fires; at once where it has. @returns what takes the listener away */
  add(signal: AbortSignal, onAbort: () => void): () => void {
    if (signal.aborted) {
      onAbort();
      return () => {};
    }
    const waiting = this.#waiting.get(signal) ?? this.#listen(signal);
    // An own function per listener, also where two are the same.
    const own = () => onAbort();
    waiting.add(own);
    return () => {
      waiting.delete(own);
    };
  }

  #listen(signal: AbortSignal): Set<() => void> {
    const waiting = new Set<() => void>();
    this.#waiting.set(signal, waiting);
    const fire = () => {
      for (const onAbort of waiting) onAbort();
      waiting.clear();
    };
    signal.addEventListener("abort", fire, { once: true });
    return waiting;
  }
}
