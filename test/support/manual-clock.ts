import { throwIfAborted } from "../../src/errors.js";
import type { Clock } from "../../src/registry/clock.js";

export interface ManualClock extends Clock {
  /** All waits so far, in ms. */
  readonly waits: readonly number[];
  advance(milliseconds: number): void;
}

/** A clock whose waits are over at once, and that then shows the time after them. */
export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start;
  const waits: number[] = [];
  return {
    waits,
    now: () => now,
    advance: (milliseconds) => {
      now += milliseconds;
    },
    sleep: async (milliseconds, signal) => {
      throwIfAborted(signal);
      waits.push(milliseconds);
      now += milliseconds;
    },
  };
}
