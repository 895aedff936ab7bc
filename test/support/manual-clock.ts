import { throwIfAborted } from "../../src/errors.js";
import type { Clock } from "../../src/registry/clock.js";

export interface ManualClock extends Clock {
  /** All waits so far, in ms. */
  readonly waits: readonly number[];
  /** Moves the time on, and calls back whom it reaches, in order. */
  advance(milliseconds: number): void;
}

/**
 * A clock whose waits are over at once, and that then shows the time after them. Alarms ring when it is advanced, and
 * not because somebody waits.
 */
export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start;
  const waits: number[] = [];
  const alarms = new Set<{ readonly at: number; readonly ring: () => void }>();
  // What waits moved on is no time in which somebody was silent.
  let waited = 0;
  return {
    waits,
    now: () => now,
    advance: (milliseconds) => {
      const end = now - waited + milliseconds;
      for (;;) {
        const [next] = [...alarms].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at);
        if (next === undefined) break;
        alarms.delete(next);
        now = Math.max(now, next.at + waited);
        next.ring();
      }
      now = end + waited;
    },
    alarm: (milliseconds, ring) => {
      const alarm = { at: now - waited + milliseconds, ring };
      alarms.add(alarm);
      return () => void alarms.delete(alarm);
    },
    sleep: async (milliseconds, signal) => {
      throwIfAborted(signal);
      waits.push(milliseconds);
      now += milliseconds;
      waited += milliseconds;
    },
  };
}
