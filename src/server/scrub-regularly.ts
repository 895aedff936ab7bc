import { type Alarms, regularly } from "./regularly.js";
import type { ScrubReport } from "./scrub.js";
import type { Upkeep } from "./upkeep.js";

/**
 * Scrubs every so often, counted from when the last one came to its end. One that was broken off goes on where it was.
 * @param interval ms
 * @returns What ends it, and waits until what runs has been broken off.
 */
export function scrubRegularly(
  upkeep: Pick<Upkeep, "scrub" | "lastScrubbed">,
  {
    interval,
    rate,
    onReport,
    onError,
    alarms,
  }: {
    readonly interval: number;
    /** Bytes read in a second at most; null for no bound. */
    readonly rate: number | null;
    readonly onReport: (report: ScrubReport) => void;
    readonly onError: (error: unknown) => void;
    readonly alarms?: Alarms;
  },
): () => Promise<void> {
  return regularly({
    ...{ interval, onError, alarms },
    last: () => upkeep.lastScrubbed(),
    run: async (signal) => onReport(await upkeep.scrub({ rate, signal })),
  });
}
