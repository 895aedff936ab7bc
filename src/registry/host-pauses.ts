import type { Clock } from "./clock.js";

/** Until when a host is left alone: shared by all requests of a client, so that eight layers wait as one. */
export class HostPauses {
  readonly #until = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns Whether this begins a pause, or only comes into one. */
  pause(host: string, milliseconds: number): boolean {
    const [before, now] = [this.#until.get(host) ?? 0, this.#clock.now()];
    this.#until.set(host, Math.max(before, now + milliseconds));
    return before <= now;
  }

  async wait(host: string, signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      const left = (this.#until.get(host) ?? 0) - this.#clock.now();
      if (left <= 0) return;
      await this.#clock.sleep(left, signal);
    }
  }
}
