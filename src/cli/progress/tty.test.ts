import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RecordedStream } from "../../../test/support/recorded-io.js";
import type { StepStatus } from "../../image/progress.js";
import { createStyle } from "../colour.js";
import { LayerTable } from "./layer-table.js";
import { screenWidth } from "./live-region.js";
import { createTtyProgress, picture } from "./tty.js";

const statuses: readonly StepStatus[] = [
  "waiting",
  "exporting",
  "compressing",
  "uploading",
  "retrying",
  "done",
  "exists",
];
const layer = (index: number) => `sha256:${String(index).padStart(12, "0")}${"0".repeat(52)}`;
const step = (index: number, status: StepStatus, current: number, total: number) =>
  ({ type: "step", layerId: layer(index), status, current, total, message: "" }) as const;
const style = createStyle(new RecordedStream({ isTTY: true }), {});

describe("picture", () => {
  it("fits any screen, whatever the layers do", () => {
    const event = fc.record({
      index: fc.nat({ max: 60 }),
      status: fc.constantFrom(...statuses),
      current: fc.nat(),
      more: fc.nat(),
    });
    const screen = fc.record({ columns: fc.integer({ min: 20, max: 250 }), rows: fc.integer({ min: 4, max: 80 }) });
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 200 }), screen, (events, { columns, rows }) => {
        const table = new LayerTable();
        events.forEach(({ index, status, current, more }, at) => {
          table.apply(step(index, status, current, current + more), at * 300);
        });
        const lines = picture(table, columns, rows, style, 60_000);
        expect(lines.length).toBeLessThan(rows);
        for (const line of lines) expect(screenWidth(line)).toBeLessThan(columns);
      }),
    );
  });

  it("shows what moves, and counts what does not fit", () => {
    const table = new LayerTable();
    for (let index = 0; index < 60; index += 1) {
      table.apply(step(index, index === 41 ? "uploading" : index < 40 ? "done" : "waiting", 5, 10), 0);
    }
    const lines = picture(table, 100, 10, (_format, text) => text, 0);
    expect(lines).toHaveLength(9);
    expect(lines[0]).toContain("000000000040  waiting");
    expect(lines[1]).toContain("000000000041  uploading");
    expect(lines.at(-2)).toBe("+53 more: 40 finished");
    expect(lines.at(-1)).toContain("40 of 60 layers");
  });

  it("fills a bar only when all of it is done", () => {
    const table = new LayerTable();
    table.apply(step(1, "uploading", 9999, 10_000), 0);
    expect(picture(table, 120, 24, (_format, text) => text, 0)[0]).toMatch(/\[=+>\]/);
  });
});

describe("createTtyProgress", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("draws ten times a second at most, and takes everything away at its end", () => {
    const stream = new RecordedStream({ isTTY: true });
    const progress = createTtyProgress(stream, { NO_COLOR: "1" });
    for (let current = 0; current <= 1000; current += 1) progress.event(step(1, "uploading", current, 1000));
    expect(stream.text).toBe("");
    vi.advanceTimersByTime(100);
    expect(stream.text.match(/uploading/g)).toHaveLength(1);
    progress.close();
    expect(stream.text).toMatch(/\u001b\[2A\u001b\[J\u001b\[\?25h\u001b\[\?2026l$/);
    const { length } = stream.text;
    vi.advanceTimersByTime(1000);
    expect(stream.text).toHaveLength(length);
  });

  it("erases the rows that lines take after the terminal became narrower", () => {
    const stream = new RecordedStream({ isTTY: true, columns: 100 });
    const progress = createTtyProgress(stream, { NO_COLOR: "1" });
    progress.event(step(1, "uploading", 500_000, 1_000_000));
    vi.advanceTimersByTime(100);
    const before = stream.text.length;
    stream.resize(30, 20);
    // The layer's line takes three rows of 30 now, the total's two.
    expect(stream.text.slice(before)).toContain("\u001b[5A");
    progress.close();
  });
});
