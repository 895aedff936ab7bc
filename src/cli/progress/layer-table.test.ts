import { expect, it } from "vitest";
import type { StepStatus } from "../../image/progress.js";
import { LayerTable, shortLayerId, totalParts } from "./layer-table.js";

const step = (layerId: string, status: StepStatus, current: number, total: number) => ({
  layerId,
  status,
  current,
  total,
  message: "",
});

it("counts what moved, what finished and how fast", () => {
  const table = new LayerTable();
  table.apply(step("a", "waiting", 0, 100), 0);
  table.apply(step("b", "uploading", 0, 1000), 0);
  expect(table.totals(0)).toEqual({ layers: 2, finished: 0, moved: 0, rate: null, working: new Map() });
  table.apply(step("b", "uploading", 500, 1000), 1000);
  table.apply(step("a", "exists", 100, 100), 1000);
  expect(table.totals(1000)).toMatchObject({ layers: 2, finished: 1, moved: 500, rate: 500 });
});

it("counts the rate over layers that have ended since, and not what the wire has not seen", () => {
  const table = new LayerTable();
  table.totals(0);
  table.apply(step("a", "exporting", 300, 1000), 10);
  table.apply(step("b", "uploading", 1, 4000), 10);
  table.apply(step("b", "done", 4000, 4000), 20);
  expect(totalParts(table.totals(2000))).toEqual([
    "1 of 2 layers",
    "exporting 300 B of 1.0 kB",
    "4.0 kB moved",
    "2.0 kB/s",
  ]);
});

it("leaves out of the total what is nothing yet", () => {
  const table = new LayerTable();
  table.apply(step("a", "waiting", 0, 100), 0);
  expect(totalParts(table.totals(5000))).toEqual(["0 of 1 layers"]);
});

it("starts the rate anew with each status", () => {
  const table = new LayerTable();
  table.apply(step("a", "compressing", 0, 100), 0);
  table.apply(step("a", "compressing", 50, 100), 1000);
  expect(table.apply(step("a", "uploading", 0, 40), 1500).rate).toBeNull();
});

it("shortens digests alone", () => {
  expect(shortLayerId(`sha256:${"ab".repeat(32)}`)).toBe("abababababab");
  expect(shortLayerId("layer-1")).toBe("layer-1");
});
