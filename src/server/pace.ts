/**
 * Tells when a peer is too slow: silent for `idleMs`, or giving less than `leastBytes` in as much time. Only the
 * time in which it is waited for counts, not that in which we are busy ourselves.
 */
export class Pace {
  readonly #idleMs: number;
  readonly #leastBytes: number;
  readonly #onSlow: () => void;
  readonly #timer: ReturnType<typeof setTimeout>;
  /** When the waiting began, in ms; null while nobody waits. */
  #since: number | null = null;
  #waited = 0;
  #bytes = 0;

  constructor(options: { readonly idleMs: number; readonly leastBytes: number; readonly onSlow: () => void }) {
    this.#idleMs = options.idleMs;
    this.#leastBytes = options.leastBytes;
    this.#onSlow = options.onSlow;
    this.#timer = setTimeout(() => this.#look(), options.idleMs);
  }

  wait(): void {
    this.#since = performance.now();
  }

  /** Something has come. */
  came(bytes: number): void {
    if (this.#since !== null) this.#waited += performance.now() - this.#since;
    this.#since = null;
    this.#bytes += bytes;
    if (this.#bytes >= this.#leastBytes) {
      this.#bytes = 0;
      this.#waited = 0;
    } else if (this.#waited >= this.#idleMs) this.#onSlow();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  /** Whoever is silent altogether calls nothing. */
  #look(): void {
    const waiting = this.#since === null ? 0 : performance.now() - this.#since;
    if (this.#waited + waiting >= this.#idleMs) this.#onSlow();
    else this.#timer.refresh();
  }
}
