import { setTimeout as sleep } from "node:timers/promises";

/** How a rate tells the time and waits. */
export interface RateClock {
  /** ms */
  now(): number;
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

const systemClock: RateClock = {
  now: () => performance.now(),
  sleep: (milliseconds, signal) => sleep(milliseconds, undefined, signal === undefined ? {} : { signal }),
};

/** Has a reader take no more bytes a second than it may. */
export class ReadRate {
  readonly #rate: number | null;
  readonly #clock: RateClock;
  readonly #started: number;
  #bytes = 0;

  /** @param rate Bytes a second; null for no bound. */
  constructor(rate: number | null, clock: RateClock = systemClock) {
    this.#rate = rate;
    this.#clock = clock;
    this.#started = clock.now();
  }

  /** Waits where more was read than the rate allows. */
  async read(bytes: number, signal?: AbortSignal | null): Promise<void> {
    this.#bytes += bytes;
    if (!this.#rate) return;
    const ahead = (this.#bytes / this.#rate) * 1000 - (this.#clock.now() - this.#started);
    if (ahead > 10) await this.#clock.sleep(ahead, signal ?? undefined);
  }
}
