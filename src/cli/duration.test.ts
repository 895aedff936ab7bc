import { expect, it } from "vitest";
import { formatDuration, parseAge, parseDuration } from "./duration.js";

it.each([
  ["90s", 90_000],
  ["10m", 600_000],
  ["90", 90_000],
  ["0.5", 500],
  ["1h30m", 5_400_000],
  ["250ms", 250],
])("reads %s as %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

it.each(["", "0", "0s", "-5", "10x", "m", "1m x", "s10", "1000h", "Infinity"])("refuses %j", (text) => {
  expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: "usage" }));
});

it("reads ages, which may be none", () => {
  expect(["0", "0s", "7d", "1d12h", "90"].map(parseAge)).toEqual([0, 0, 604_800_000, 129_600_000, 90_000]);
  for (const text of ["", "soon", "-1d", "1w"]) {
    expect(() => parseAge(text)).toThrow(expect.objectContaining({ code: "usage" }));
  }
});

it("prints durations for people", () => {
  expect([0, 4200, 59_960, 185_000, 7_800_000].map(formatDuration)).toEqual([
    "0.0 s",
    "4.2 s",
    "1m00s",
    "3m05s",
    "2h10m",
  ]);
});
