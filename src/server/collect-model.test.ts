import { describe, expect, it } from "vitest";
import { runModel } from "../../test/model/registry-model.js";

// `npm run test:long` runs a million steps; docs/long-runs.md has what came of it.
describe("pushes, mounts, tags, deletes, collections and crashes in any order", () => {
  it.each([
    ["memory", 19_600],
    ["filesystem", 400],
  ] as const)(
    "lose nothing that was acknowledged and not deleted: %s",
    { timeout: 300_000 },
    async (storage, steps) => {
      const seed = Number(process.env.LADING_MODEL_SEED ?? Date.now() % 1_000_000);
      const report = await runModel({ seed, steps, storage });
      // it did meet what it is for
      expect(report.acknowledged).toBeGreaterThan(steps / 20);
      expect(report.collections).toBeGreaterThan(steps / 20);
      const { crashes, removedBlobs, beyondQuota, immutable } = report;
      if (storage === "memory") {
        expect(Math.min(crashes, removedBlobs, beyondQuota, immutable), JSON.stringify(report)).toBeGreaterThan(0);
      }
    },
  );
});
