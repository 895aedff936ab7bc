import type { CollectReport } from "./collect-report.js";
import { type Alarms, regularly } from "./regularly.js";
import type { Upkeep } from "./upkeep.js";

/**
 * Collects every so often, counted from the last collection, whoever made it.
 * @param interval ms
 * @returns What ends it, and waits for a collection that runs.
 */
export function collectRegularly(
  upkeep: Pick<Upkeep, "collect" | "lastCollected">,
  interval: number,
  {
    onReport,
    onError,
    alarms,
  }: {
    readonly onReport: (report: CollectReport) => void;
    readonly onError: (error: unknown) => void;
    readonly alarms?: Alarms;
  },
): () => Promise<void> {
  return regularly({
    ...{ interval, onError, alarms },
    last: () => upkeep.lastCollected(),
    run: async (signal) => onReport(await upkeep.collect({ signal })),
  });
}
