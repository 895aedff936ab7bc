import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { RecordedStream } from "../../../test/support/recorded-io.js";
import { LocalImage } from "../../image/local-image.js";
import type { StepStatus } from "../../image/progress.js";
import { RemoteImage } from "../../image/remote-image.js";
import { createPlainProgress } from "./plain.js";

const a = `sha256:${"a".repeat(64)}`;
const b = `sha256:${"b".repeat(64)}`;
const step = (layerId: string, status: StepStatus, current: number, total: number) =>
  ({ type: "step", layerId, status, current, total, message: "" }) as const;
const push = {
  type: "push",
  src: new LocalImage("app", "1"),
  dst: RemoteImage.newExternalImage("o/app", "registry.example.org", { tag: "1" }),
} as const;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("writes a line at the start and the end of each layer", () => {
  const stream = new RecordedStream();
  const progress = createPlainProgress(stream);
  progress.event(push);
  progress.event(step(a, "waiting", 0, 2000));
  progress.event(step(b, "checking", 0, 500));
  progress.event(step(b, "exists", 500, 500));
  progress.event(step(a, "checking", 0, 2000));
  for (const current of [0, 1000, 2000]) progress.event(step(a, "uploading", current, 2000));
  progress.event(step(a, "done", 2000, 2000));
  progress.close();
  expect(stream.lines).toEqual([
    "push app:1 -> registry.example.org/o/app:1",
    "bbbbbbbbbbbb: exists (500 B)",
    "aaaaaaaaaaaa: uploading (2.0 kB)",
    "aaaaaaaaaaaa: done (2.0 kB)",
  ]);
});

it("writes the total every ten seconds, and none after its end", () => {
  const stream = new RecordedStream();
  const progress = createPlainProgress(stream, () => Date.now());
  progress.event(push);
  progress.event(step(a, "uploading", 0, 4000));
  vi.advanceTimersByTime(9_000);
  progress.event(step(a, "uploading", 1800, 4000));
  vi.advanceTimersByTime(12_000);
  expect(stream.lines.slice(2)).toEqual([
    "total: 0 of 1 layers, 1.8 kB moved, 180 B/s",
    "total: 0 of 1 layers, 1.8 kB moved, 90 B/s",
  ]);
  progress.close();
  vi.advanceTimersByTime(60_000);
  expect(stream.lines).toHaveLength(4);
});

it("shows no control characters of a layer's name", () => {
  const stream = new RecordedStream();
  const progress = createPlainProgress(stream);
  progress.event(step("\u001b[2Jx", "uploading", 0, 0));
  progress.close();
  expect(stream.text).toBe("\\x1b[2Jx: uploading\n");
});
