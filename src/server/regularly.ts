import { isLadingError } from "../errors.js";

/** The time, and what calls back once some of it has gone by: so that a test can move it. */
export interface Alarms {
  /** ms since the epoch. */
  now(): number;
  /** Calls back after so many ms, and keeps no process alive for it. @returns Calls it off. */
  alarm(milliseconds: number, ring: () => void): () => void;
}

export const systemAlarms: Alarms = {
  now: () => Date.now(),
  alarm: (milliseconds, ring) => {
    const timer = setTimeout(ring, milliseconds).unref();
    return () => clearTimeout(timer);
  },
};

/** A timer waits for no longer than this, in ms. */
const longest = 60 * 60 * 1000;
/** What failed is tried again after so long at most, in ms. */
const again = 24 * 60 * 60 * 1000;

/** What is done every so often. */
export interface Chore {
  /** ms */
  readonly interval: number;
  /** When it last came to its end, ms since the epoch, whoever did it; null where it never did. */
  readonly last: () => Promise<number | null>;
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly onError: (error: unknown) => void;
  readonly alarms?: Alarms | undefined;
}

/**
 * Does something every so often, counted from the last time that it was done, by whomever: so that a server which is
 * started anew each day does so too.
 * @returns What ends it, and waits for what runs.
 */
export function regularly({ interval, last, run, onError, alarms = systemAlarms }: Chore): () => Promise<void> {
  const ended = new AbortController();
  let callOff = (): void => {};
  let running: Promise<void> = Promise.resolve();
  let failed = Number.NEGATIVE_INFINITY;
  const look = async (): Promise<void> => {
    try {
      const due = Math.max(((await last()) ?? Number.NEGATIVE_INFINITY) + interval, failed + Math.min(interval, again));
      if (due <= alarms.now() && !ended.signal.aborted) await run(ended.signal);
    } catch (error) {
      failed = alarms.now();
      // another one runs, or we are ending
      if (!ended.signal.aborted && !(isLadingError(error) && error.code === "conflict")) onError(error);
    }
    if (!ended.signal.aborted) callOff = alarms.alarm(Math.min(interval, longest), start);
  };
  const start = (): void => {
    running = look();
  };
  start();
  return async () => {
    ended.abort();
    callOff();
    await running;
  };
}
