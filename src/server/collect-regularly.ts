import { isLadingError } from "../errors.js";
import type { CollectReport } from "./collect-report.js";
import type { Upkeep } from "./upkeep.js";

/** A timer waits for no longer than this, in ms. */
const longest = 60 * 60 * 1000;

/**
 * Collects every so often, counted from the last collection, whoever made it: so that a server which is started anew
 * each day does so too.
 * @param interval ms
 * @returns What ends it, and waits for a collection that runs.
 */
export function collectRegularly(
  upkeep: Pick<Upkeep, "collect" | "lastCollected">,
  interval: number,
  {
    onReport,
    onError,
    now = Date.now,
  }: {
    readonly onReport: (report: CollectReport) => void;
    readonly onError: (error: unknown) => void;
    readonly now?: () => number;
  },
): () => Promise<void> {
  const ended = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let failed = Number.NEGATIVE_INFINITY;
  const look = async (): Promise<void> => {
    try {
      const last = Math.max((await upkeep.lastCollected()) ?? Number.NEGATIVE_INFINITY, failed);
      if (last + interval <= now()) onReport(await upkeep.collect({ signal: ended.signal }));
    } catch (error) {
      failed = now();
      // another one runs, or we are ending
      if (!ended.signal.aborted && !(isLadingError(error) && error.code === "conflict")) onError(error);
    }
    if (ended.signal.aborted) return;
    timer = setTimeout(start, Math.min(interval, longest));
    timer.unref();
  };
  const start = (): void => {
    running = look();
  };
  start();
  return async () => {
    ended.abort();
    clearTimeout(timer);
    await running;
  };
}
