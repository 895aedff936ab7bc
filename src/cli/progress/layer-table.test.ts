import { expect, it } from "vitest";
import type { StepStatus } from "../../image/progress.js";
import { LayerTable, shortLayerId } from "./layer-table.js";

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
  table.apply(step("b", "uploading", 500, 1000), 1000);
  table.apply(step("a", "exists", 100, 100), 1000);
  expect(table.totals()).toEqual({ layers: 2, finished: 1, moved: 500, rate: 500 });
  table.apply(step("b", "done", 1000, 1000), 2000);
  expect(table.totals()).toEqual({ layers: 2, finished: 2, moved: 1000, rate: 0 });
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
