import { setTimeout as delay } from "node:timers/promises";
import { abortError, throwIfAborted } from "../errors.js";

/** Time as the client sees it, so that a test can move it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** @throws LadingError `cancelled`, `timeout` where the signal fires */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Calls back after a time, and keeps no process alive for it. @returns Calls it off. */
  alarm(milliseconds: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (milliseconds, signal) => {
    throwIfAborted(signal);
    try {
      await delay(milliseconds, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw signal?.aborted ? abortError(signal) : error;
    }
  },
  alarm: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds).unref();
    return () => clearTimeout(timer);
  },
};
